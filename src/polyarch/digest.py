"""Digests: names of bytes by their content.

`Digest` names bytes as they are stored or sent; `DiffID` names a layer's uncompressed tar; `ChainID`
names a stack of layers. Source: OCI image-spec v1.1, descriptor.md ("Digests") and config.md ("Layer
DiffID", "Layer ChainID").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NewType

from polyarch.errors import InvalidDigest
from polyarch.pattern import pattern

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

__all__ = [
    "ChainID",
    "DiffID",
    "Digest",
    "chain_id",
    "fits",
    "hasher",
    "hex_of",
    "parse_digest",
    "sha256",
]

Digest = NewType("Digest", str)
DiffID = NewType("DiffID", str)
ChainID = NewType("ChainID", str)

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_DIGEST = pattern(r"(sha256|sha384|sha512):([0-9a-f]+)\Z")


def sha256(data: bytes) -> Digest:
    """Return the sha256 digest of `data`."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def parse_digest(text: str) -> Digest:
    """Check that `text` is a digest of a registered algorithm. Raises InvalidDigest."""
    match = _DIGEST.match(text)
    if match is None or len(match[2]) != _HEX_LENGTHS[match[1]]:
        raise InvalidDigest(
            f"invalid digest {text!r}", hint="a digest is sha256: and 64 hex digits"
        )
    return Digest(text)


def hex_of(digest: Digest | DiffID | ChainID) -> str:
    """Return the part behind the algorithm's name."""
    return digest.partition(":")[2]


def hasher(digest: Digest) -> Hash:
    """Return a hash of the digest's algorithm, which its `hexdigest` is to be compared with `hex_of`."""
    return hashlib.new(digest.partition(":")[0], usedforsecurity=False)


def fits(data: bytes | bytearray, digest: Digest) -> bool:
    """Return whether bytes have a digest."""
    found = hasher(digest)
    found.update(data)
    return found.hexdigest() == hex_of(digest)


def chain_id(diff_ids: Iterable[DiffID]) -> ChainID:
    """Return the chain ID of a stack of layers, base first; "" for no layers at all."""
    chain = ""
    for diff_id in diff_ids:
        chain = sha256(f"{chain} {diff_id}".encode()) if chain else diff_id
    return ChainID(chain)
