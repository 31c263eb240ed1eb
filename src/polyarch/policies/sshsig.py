"""Signatures by keys of ssh, as git makes them.

Source: OpenSSH's PROTOCOL.sshsig.
"""

from __future__ import annotations

import base64
import hashlib

from polyarch.policies.openpgp import Unsigned
from polyarch.policies.signatures import armored_blocks
from polyarch.signing.needs import needing_keys

__all__ = ["is_signed_by"]

_MAGIC = b"SSHSIG"
_NAMESPACE = b"git"
_CURVE_HASHES = {256: "SHA256", 384: "SHA384", 521: "SHA512"}
_RSA_HASHES = {b"rsa-sha2-256": "SHA256", b"rsa-sha2-512": "SHA512"}


def is_signed_by(text: str, data: bytes, key: bytes) -> bool:
    """Tell whether a key, a line as in `id_ed25519.pub`, has made the armored signature of some bytes.

    Raises Unsigned for what can't be understood, MachineError where the libraries for it are missing.
    """
    blob = next(iter(armored_blocks(text)), b"")
    if not blob.startswith(_MAGIC) or int.from_bytes(blob[6:10]) != 1:
        raise Unsigned("unsupported SSH signature")
    public, namespace, reserved, algorithm, signature = _strings(blob[10:], 5)
    if namespace != _NAMESPACE:
        raise Unsigned(f"unexpected SSH signature namespace: {namespace.decode('latin-1')!r}")
    if algorithm not in {b"sha256", b"sha512"}:
        raise Unsigned(f"unsupported SSH signature hash algorithm: {algorithm.decode('latin-1')}")
    digest = hashlib.new(algorithm.decode(), data).digest()
    signed = _MAGIC + b"".join(map(_string, (namespace, reserved, algorithm, digest)))
    return _is_right(key, public, signature, signed)


def _strings(data: bytes, count: int) -> list[bytes]:
    found, position = [], 0
    for _ in range(count):
        length = int.from_bytes(data[position : position + 4])
        found.append(data[position + 4 : position + 4 + length])
        position += 4 + length
    if position > len(data):
        raise Unsigned("an SSH signature that isn't whole")
    return found


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _is_right(line: bytes, public: bytes, signature: bytes, signed: bytes) -> bool:
    with needing_keys():
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 only policies with keys want it
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils  # noqa: PLC0415

    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    kind, value = _strings(signature, 2)
    try:
        key = serialization.load_ssh_public_key(line.strip())
        own = key.public_bytes(*form).split(b" ")[1]
        if _blob(own) != public:
            return False
        if isinstance(key, ed25519.Ed25519PublicKey) and kind == b"ssh-ed25519":
            key.verify(value, signed)
        elif isinstance(key, rsa.RSAPublicKey) and kind in _RSA_HASHES:
            key.verify(value, signed, padding.PKCS1v15(), getattr(hashes, _RSA_HASHES[kind])())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            one, two = (int.from_bytes(each) for each in _strings(value, 2))
            digest = getattr(hashes, _CURVE_HASHES[key.key_size])()
            key.verify(utils.encode_dss_signature(one, two), signed, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    except (ValueError, KeyError, UnsupportedAlgorithm) as error:
        raise Unsigned(f"failed to parse ssh public key: {error}") from None
    return True


def _blob(text: bytes) -> bytes:
    return base64.b64decode(text)
