"""Certificates as Java has them: a keystore of type JKS, which every version reads.

A store of trusted certificates: a head, the entries, and a digest of both with the password, which is Java's usual one
and no secret. Source: the format as OpenJDK reads and writes it (`sun.security.provider.JavaKeyStore`); Java knows no PEM.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

__all__ = ["PASSWORD", "keystore"]

PASSWORD = "changeit"  # noqa: S105 that of every Java, for what is public
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
_WHITENER = b"Mighty Aphrodite"


def keystore(certificates: Iterable[bytes]) -> bytes:
    """Return a keystore of certificates, which are in DER form."""
    entries = [_entry(number, each) for number, each in enumerate(certificates)]
    data = struct.pack(">III", _MAGIC, _VERSION, len(entries)) + b"".join(entries)
    return data + hashlib.sha1(PASSWORD.encode("utf-16-be") + _WHITENER + data).digest()  # noqa: S324 the format's own


def _entry(number: int, certificate: bytes) -> bytes:
    created = struct.pack(">Q", 0)
    size = struct.pack(">I", len(certificate))
    return b"".join(
        (
            struct.pack(">I", _TRUSTED),
            _text(f"ca-{number}"),
            created,
            _text("X.509"),
            size,
            certificate,
        )
    )


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode("ascii")
