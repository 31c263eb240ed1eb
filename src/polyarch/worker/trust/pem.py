"""Certificates in PEM form. Source: RFC 7468."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

from polyarch.errors import InputError
from polyarch.inroot import read_small
from polyarch.pattern import pattern

__all__ = ["certificates", "encoded", "read_certificates"]

_LIMIT = 16 << 20
"""Bytes of a file; the store of a machine has a quarter of one million."""
_BLOCK = pattern(
    r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END (?:TRUSTED )?CERTIFICATE-----"
)
_LINE = 64


def certificates(text: str) -> tuple[bytes, ...]:
    """Return the certificates of a text in DER form, in their order, each once; what is no certificate is left out."""
    found: dict[bytes, None] = {}
    for match in _BLOCK.finditer(text):
        try:
            found[base64.b64decode("".join(match[1].split()), validate=True)] = None
        except binascii.Error:
            continue
    return tuple(found)


def encoded(found: Iterable[bytes]) -> str:
    """Return certificates in PEM form, one below the other."""
    return "".join(map(_block, found))


def _block(certificate: bytes) -> str:
    text = base64.b64encode(certificate).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def read_certificates(paths: Iterable[Path]) -> tuple[bytes, ...]:
    """Return the certificates of files. Raises InputError for one that can't be read, or has none."""
    found: dict[bytes, None] = {}
    for path in paths:
        try:
            text = read_small(path, _LIMIT, "a file of CAs").decode("latin-1")
        except OSError as error:
            raise InputError(f"can't read the CAs in {path}: {error.strerror}") from error
        mine = certificates(text)
        if not mine:
            raise InputError(
                f"there is no certificate in {path}",
                hint="certificates are in PEM form; of DER: openssl x509 -inform der -in FILE",
            )
        found |= dict.fromkeys(mine)
    return tuple(found)
