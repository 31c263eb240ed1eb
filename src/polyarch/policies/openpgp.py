"""Detached signatures by OpenPGP, version 4: RSA, ECDSA and Ed25519 over SHA-2.

A signature is checked by the digest of what it is of, followed by its own `suffix`: so a file needn't be there.
Source: RFC 4880, RFC 6637, RFC 9580.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from polyarch.policies.signatures import armored_blocks
from polyarch.record import field, frozen
from polyarch.signing.needs import needing_keys

__all__ = ["Detached", "Unsigned"]

_RSA, _ECDSA, _EDDSA, _ED25519 = (1, 3), 19, 22, 27
_HASHES = {8: "sha256", 9: "sha384", 10: "sha512"}
_SIGNATURE, _KEY, _SUBKEY = 2, 6, 14
_REVOKES = 0x20
_LEAST_BITS = 2048
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "SECP256R1",
    bytes.fromhex("2b81040022"): "SECP384R1",
    bytes.fromhex("2b81040023"): "SECP521R1",
}
_PREFIX = 0x40
"""Stands before points of Ed25519."""


class Unsigned(Exception):
    """No signature that can be checked, and why."""


@frozen
class _PublicKey:
    algorithm: int
    material: bytes = field(repr=False)
    is_revoked: bool = False


@frozen
class Detached:
    """A signature: `suffix` is what its digest is of besides the file."""

    algorithm: str
    suffix: bytes
    key_algorithm: int
    value: bytes = field(repr=False)

    @staticmethod
    def read(text: bytes) -> Detached:
        """Read the first signature of an armored text. Raises Unsigned."""
        for block in armored_blocks(text.decode("latin-1")):
            for kind, body in _packets(block):
                if kind == _SIGNATURE:
                    return _signature(body)
        raise Unsigned("no signature packet found")

    def is_by(self, keys: bytes, digest: str) -> bool:
        """Tell whether one of the armored keys has made it, given the digest of the file and `suffix`.

        Raises Unsigned for keys that can't be read, MachineError where the libraries for it are missing.
        """
        name, _, value = digest.partition(":")
        if name != self.algorithm:
            return False
        found = [key for block in armored_blocks(keys.decode("latin-1")) for key in _keys(block)]
        if not found:
            raise Unsigned("no public keys found: they have to be armored")
        return any(
            not key.is_revoked
            and _kind(key.algorithm) == _kind(self.key_algorithm)
            and _is_right(self, key, bytes.fromhex(value))
            for key in found
        )

    def digest_of(self, data: bytes) -> str:
        """Return the digest of some bytes that `is_by` wants."""
        return f"{self.algorithm}:{hashlib.new(self.algorithm, data + self.suffix).hexdigest()}"


def _kind(algorithm: int) -> int:
    return _RSA[0] if algorithm in _RSA else algorithm


def _signature(body: bytes) -> Detached:
    if len(body) < 10 or body[0] != 4:
        raise Unsigned("signatures of OpenPGP are of version 4, or not understood")
    if body[3] not in _HASHES:
        raise Unsigned(f"rejecting weak/unknown hash: {body[3]}")
    hashed = 6 + int.from_bytes(body[4:6])
    other = int.from_bytes(body[hashed : hashed + 2])
    head = body[:hashed]
    return Detached(
        algorithm=_HASHES[body[3]],
        suffix=head + b"\x04\xff" + len(head).to_bytes(4),
        key_algorithm=body[2],
        # Two bytes of the digest stand in front of it.
        value=body[hashed + 2 + other + 2 :],
    )


def _keys(data: bytes) -> list[_PublicKey]:
    found: list[_PublicKey] = []
    for kind, body in _packets(data):
        if kind in {_KEY, _SUBKEY} and len(body) > 6 and body[0] == 4:
            found.append(_PublicKey(algorithm=body[5], material=body[6:]))
        elif (
            kind == _SIGNATURE and body[:1] == b"\x04" and body[1:2] == bytes([_REVOKES]) and found
        ):
            # Whoever gives it is trusted to say so: it isn't asked who has made the revocation.
            last = found.pop()
            found.append(
                _PublicKey(algorithm=last.algorithm, material=last.material, is_revoked=True)
            )
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 2 <= len(data) and data[position] & 0x80:
        head = data[position]
        if head & 0x40:
            kind = head & 0x3F
            length, start = _new_length(data, position + 1)
        else:
            kind, width = head >> 2 & 0x0F, 1 << (head & 3)
            start = position + 1 + width
            length = int.from_bytes(data[position + 1 : start]) if width < 8 else -1
        if length < 0 or start + length > len(data):
            raise Unsigned("a packet of OpenPGP that isn't whole")
        yield kind, data[start : start + length]
        position = start + length


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    first = data[position]
    if first < 192:
        return first, position + 1
    if first < 224:
        second = data[position + 1] if position + 1 < len(data) else 0
        return ((first - 192) << 8) + second + 192, position + 2
    if first == 255:
        return int.from_bytes(data[position + 1 : position + 5]), position + 5
    return -1, position


# --- arithmetic, of a library ---


def _numbers(data: bytes) -> list[bytes]:
    found, position = [], 0
    while position + 2 <= len(data):
        length = (int.from_bytes(data[position : position + 2]) + 7) // 8
        found.append(data[position + 2 : position + 2 + length])
        position += 2 + length
    return found


def _is_right(signature: Detached, key: _PublicKey, digest: bytes) -> bool:
    with needing_keys():
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 only policies with keys want it

    try:
        if key.algorithm in _RSA:
            _check_rsa(signature, key, digest)
        elif key.algorithm == _ECDSA:
            _check_ecdsa(signature, key, digest)
        elif key.algorithm in {_EDDSA, _ED25519}:
            _check_ed25519(signature, key, digest)
        else:
            return False
    except (InvalidSignature, ValueError, IndexError, OverflowError):
        return False
    return True


def _check_rsa(signature: Detached, key: _PublicKey, digest: bytes) -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils  # noqa: PLC0415

    modulus, exponent = (int.from_bytes(each) for each in _numbers(key.material)[:2])
    if modulus.bit_length() < _LEAST_BITS:
        raise ValueError("short")
    kind = getattr(hashes, signature.algorithm.upper())()
    value = _numbers(signature.value)[0].rjust((modulus.bit_length() + 7) // 8, b"\0")
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    public.verify(value, digest, padding.PKCS1v15(), utils.Prehashed(kind))


def _check_ecdsa(signature: Detached, key: _PublicKey, digest: bytes) -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415

    length = key.material[0]
    name = _CURVES.get(key.material[1 : 1 + length], "")
    if not name:
        raise ValueError("another curve")
    curve = getattr(ec, name)()
    point = _numbers(key.material[1 + length :])[0]
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    one, other = (int.from_bytes(each) for each in _numbers(signature.value)[:2])
    kind = getattr(hashes, signature.algorithm.upper())()
    public.verify(utils.encode_dss_signature(one, other), digest, ec.ECDSA(utils.Prehashed(kind)))


def _check_ed25519(signature: Detached, key: _PublicKey, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    if key.algorithm == _ED25519:
        point, value = key.material[:32], signature.value[:64]
    else:
        point = _numbers(key.material[1 + key.material[0] :])[0]
        if point[0] != _PREFIX:
            raise ValueError("another form of points")
        point = point[1:]
        value = b"".join(each.rjust(32, b"\0") for each in _numbers(signature.value)[:2])
    ed25519.Ed25519PublicKey.from_public_bytes(point).verify(value, digest)
