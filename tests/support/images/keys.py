"""Pairs of keys in files: of all kinds, in PEM, or encrypted in the way of cosign."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from nacl.secret import SecretBox

__all__ = ["KINDS", "Private", "write_cosign_key", "write_key"]

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

KINDS: dict[str, Private] = {
    "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "other": ec.generate_private_key(ec.SECP256R1()),
    "too large": ec.generate_private_key(ec.SECP521R1()),
}


def write_key(directory: Path, kind: str, password: str = "") -> tuple[str, str]:
    """Write a pair in PEM; return the names of the private and the public file."""
    key = KINDS[kind]
    how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return _write(directory, kind, private)


def write_cosign_key(directory: Path, password: str, kind: str = "ecdsa") -> tuple[str, str]:
    """Write a pair as `cosign generate-key-pair` does; return the names of the files."""
    inner = KINDS[kind].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, nonce = bytes(range(32)), bytes(range(24))
    # cosign's N is 65536; a tenth of a second is enough for tests.
    secret = hashlib.scrypt(password.encode(), salt=salt, n=1 << 12, r=8, p=1, dklen=32)
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": 1 << 12, "r": 8, "p": 1},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(SecretBox(secret).encrypt(inner, nonce).ciphertext).decode(),
    }
    kind_line = "ENCRYPTED SIGSTORE PRIVATE KEY"
    body = base64.encodebytes(json.dumps(document).encode())
    private = b"-----BEGIN %b-----\n%b-----END %b-----\n" % (
        kind_line.encode(),
        body,
        kind_line.encode(),
    )
    return _write(directory, kind, private)


def _write(directory: Path, kind: str, private: bytes) -> tuple[str, str]:
    public = KINDS[kind].public_key()
    directory.mkdir(parents=True, exist_ok=True)
    names = directory / f"{kind}.key", directory / f"{kind}.pub"
    names[0].write_bytes(private)
    names[1].write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for name in names:
        name.chmod(0o644)
    return str(names[0]), str(names[1])
