"""`rsadecrypt`: RSA with PKCS #1 version 1.5, keys as PEM. Source: RFC 8017.

Whoever writes a bake file has the key and the text: no time that this takes tells anybody more.
"""

from __future__ import annotations

import binascii
from base64 import b64decode

from polyarch.golang.strconv import quote
from polyarch.pattern import pattern

__all__ = ["decrypt"]

_PEM = pattern(r"-----BEGIN ([A-Z ]+)-----\s*(.*?)-----END \1-----", 16)
_SEQUENCE, _INTEGER = 0x30, 0x02


def decrypt(cipher: str, key: str) -> str:
    """Return the text of a cipher in base64. Raises ValueError."""
    try:
        data = b64decode(cipher, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(
            f"failed to decode input {quote(cipher)}: cipher text must be base64-encoded"
        ) from None
    match = _PEM.search(key)
    if match is None:
        raise ValueError("failed to parse key: no key found")
    if "4,ENCRYPTED" in match[2]:
        raise ValueError(
            "failed to parse key: password protected keys are not supported. Please decrypt the key prior to use"
        )
    modulus, exponent = _private_key(b64decode(match[2]))
    return _decrypt(data, modulus, exponent).decode("utf-8", "surrogateescape")


def _decrypt(data: bytes, modulus: int, exponent: int) -> bytes:
    size = (modulus.bit_length() + 7) // 8
    number = int.from_bytes(data, "big")
    if len(data) != size or number >= modulus:
        raise ValueError("crypto/rsa: decryption error")
    block = pow(number, exponent, modulus).to_bytes(size, "big")
    end = block.find(0, 2)
    if block[:2] != b"\0\2" or end < 10:
        raise ValueError("crypto/rsa: decryption error")
    return block[end + 1 :]


def _private_key(data: bytes) -> tuple[int, int]:
    """Return the modulus and the private exponent of a key in DER."""
    try:
        kind, content, _rest = _element(data)
        numbers: list[int] = []
        while kind == _SEQUENCE and content and len(numbers) < 4:
            inner, value, content = _element(content)
            if inner != _INTEGER:
                break
            numbers.append(int.from_bytes(value, "big"))
    except IndexError:
        numbers = []
    if len(numbers) < 4:
        raise ValueError("asn1: structure error: it is no RSA key in PKCS #1's form")
    return numbers[1], numbers[3]


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    length, start = data[1], 2
    if length >= 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    return data[0], data[start : start + length], data[start + length :]
