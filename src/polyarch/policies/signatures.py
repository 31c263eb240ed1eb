"""Signatures of commits and tags, as far as they say who made them without being checked.

Source: RFC 4880 and RFC 9580 (packets), OpenSSH's PROTOCOL.sshsig.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from polyarch.pattern import pattern

__all__ = ["armored_blocks", "signature_of"]

_ARMOR = pattern(
    r"-----BEGIN [A-Z ]+-----\r?\n(?:[^\n]*: [^\n]*\n)*\s*([A-Za-z0-9+/=\s]+?)\s*-----END"
)
_SSH = b"SSHSIG"
_ISSUER = 16


def signature_of(text: str) -> dict[str, object]:
    """Return the field that a signature gets, none for one that can't be read."""
    data = next(iter(armored_blocks(text)), b"")
    if data.startswith(_SSH):
        return _ssh(data)
    return _pgp(data)


def armored_blocks(text: str) -> list[bytes]:
    """Return what the armored blocks of a text hold; those that are damaged are left out."""
    return [data for match in _ARMOR.finditer(text) if (data := _unarmored(match[1]))]


def _unarmored(content: str) -> bytes:
    # The checksum of OpenPGP's armor stands behind the data, on a line of its own.
    lines = [line for line in content.split() if not (line.startswith("=") and len(line) == 5)]
    try:
        return base64.b64decode("".join(lines), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _ssh(data: bytes) -> dict[str, object]:
    version = int.from_bytes(data[6:10])
    length = int.from_bytes(data[10:14])
    key = data[14 : 14 + length]
    if len(key) < length or not version:
        return {}
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return {"sshSignature": {"version": version, "pubKey": f"SHA256:{digest}"}}


def _pgp(data: bytes) -> dict[str, object]:
    body = _packet(data)
    if not body:
        return {}
    version = body[0]
    found: dict[str, object] = {"version": version}
    if version == 4 and (key := _issuer(body)):
        found["keyID"] = key
    return {"pgpSignature": found}


def _packet(data: bytes) -> bytes:
    """Return the body of a signature packet, b"" if there is none."""
    if len(data) < 3 or not data[0] & 0x80:
        return b""
    if data[0] & 0x40:
        kind, width, first = data[0] & 0x3F, 1, data[1]
        if first >= 192:
            return (
                b""
                if first > 223 or kind != 2
                else data[3 : 3 + ((first - 192) << 8) + data[2] + 192]
            )
    else:
        kind, width = data[0] >> 2 & 0x0F, (1, 2, 4, 0)[data[0] & 3]
    if kind != 2 or not width:
        return b""
    length = int.from_bytes(data[1 : 1 + width])
    return data[1 + width : 1 + width + length]


def _issuer(body: bytes) -> str:
    hashed = int.from_bytes(body[4:6])
    rest = body[6 + hashed :]
    for area in (body[6 : 6 + hashed], rest[2 : 2 + int.from_bytes(rest[:2])]):
        position = 0
        while position + 2 <= len(area):
            length = area[position]
            if length >= 192:
                break
            if area[position + 1] & 0x7F == _ISSUER and length == 9:
                return area[position + 2 : position + 10].hex()
            position += 1 + length
    return ""
