"""Keys that sign, and by which signatures are checked: in PEM, or encrypted as cosign writes them.

ECDSA on P-256 (what cosign makes), Ed25519 and RSA, with SHA-256. Nothing here is imported unless somebody signs or
checks a signature. Source: cosign's documentation of keys; go-securesystemslib's `encrypted` for the form of theirs.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from polyarch.digest import Digest, sha256
from polyarch.errors import InputError
from polyarch.record import field, frozen
from polyarch.signing.needs import needing_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    _Private: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    _Public: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

__all__ = ["PASSWORD", "PrivateKey", "PublicKey", "load_private_key", "load_public_key"]

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - the name of a variable
"""The variable with the password of a private key, cosign's as ours."""
_FROM_VARIABLE = "env://"
_COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_KINDS = "ECDSA on P-256, Ed25519 or RSA"
_MOST_MEMORY = 1 << 30
"""Bytes that deriving a key may take: the file says how many it wants."""


@frozen
class PublicKey:
    """A key that signatures are checked by."""

    key: _Public = field(repr=False)
    der: bytes = field(repr=False)

    @property
    def fingerprint(self) -> Digest:
        """The digest of the key in DER, by which people are told of it."""
        return sha256(self.der)

    @property
    def hint(self) -> str:
        """What bundles call the key."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature` is one of `data` by this key."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 see above
        from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415

        try:
            if isinstance(self.key, ec.EllipticCurvePublicKey):
                self.key.verify(signature, data, _ecdsa())
            elif isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, data, *_rsa())
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@frozen
class PrivateKey:
    """A key that signs. The same data gets the same signature, where the library can do that."""

    key: _Private = field(repr=False)
    public: PublicKey

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415 see above

        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, _ecdsa(deterministic=True))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, *_rsa())
        return self.key.sign(data)


def load_private_key(name: str, environ: Mapping[str, str]) -> PrivateKey:
    """Return the private key that a file or `env://NAME` holds; its password is that of `COSIGN_PASSWORD`.

    Raises InputError, which never has the key or the password in it; MachineError without the library.
    """
    with needing_keys():
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 see above

    data = _read(name, environ)
    password = environ.get(PASSWORD)
    try:
        if any(f"-----BEGIN {kind}-----".encode() in data for kind in _COSIGN):
            pkcs8 = _decrypted(data, (password or "").encode())
            key = serialization.load_der_private_key(pkcs8, None)
        else:
            is_encrypted = b"ENCRYPTED" in data
            secret = password.encode() if password and is_encrypted else None
            key = serialization.load_pem_private_key(data, secret)
    except _WrongPassword as error:
        raise _password_trouble(name, password) from error
    except TypeError as error:
        # An encrypted key, and no password.
        raise _password_trouble(name, password) from error
    except ValueError as error:
        if b"ENCRYPTED" in data and password:
            raise _password_trouble(name, password) from error
        raise _no_key(name, "private") from error
    return PrivateKey(key=_private(key, name), public=_public(key.public_key(), name))


def load_public_key(name: str, environ: Mapping[str, str]) -> PublicKey:
    """Return the public key that a file or `env://NAME` holds. Raises InputError, MachineError."""
    with needing_keys():
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 see above

    data = _read(name, environ)
    if b"PRIVATE KEY-----" in data:
        raise InputError(
            f"{name} is a private key",
            hint="give the public one: cosign.pub, or what `openssl pkey -pubout` writes",
        )
    try:
        key = serialization.load_pem_public_key(data)
    except ValueError as error:
        raise _no_key(name, "public") from error
    return _public(key, name)


def _read(name: str, environ: Mapping[str, str]) -> bytes:
    if name.startswith(_FROM_VARIABLE):
        variable = name.removeprefix(_FROM_VARIABLE)
        if not environ.get(variable):
            raise InputError(f"there is no key in the variable {variable}", hint="set it")
        return environ[variable].encode()
    if "://" in name:
        raise InputError(
            f"the key {name} isn't supported: keys are files, or env://NAME",
            hint="a service that keeps keys isn't asked; sign by an identity: keyless",
        )
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"can't read the key {name}: {error.strerror}") from error


def _private(key: object, name: str) -> _Private:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        return key
    raise _other_kind(name)


def _public(key: object, name: str) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    is_p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not is_p256 and not isinstance(key, ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise _other_kind(name)
    assert isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(key=key, der=der)


def _ecdsa(*, deterministic: bool = False) -> ec.ECDSA:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        return ec.ECDSA(SHA256(), deterministic_signing=deterministic)
    except UnsupportedAlgorithm:  # an OpenSSL before 3.2
        return ec.ECDSA(SHA256())


def _rsa() -> tuple[padding.PKCS1v15, SHA256]:
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415 see above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    return padding.PKCS1v15(), SHA256()


# --- cosign's own form ---


class _WrongPassword(Exception):
    """What was encrypted doesn't open by this password."""


def _decrypted(pem: bytes, password: bytes) -> bytes:
    """Open a key that cosign wrote: scrypt, and NaCl's secret box. Raises ValueError, _WrongPassword."""
    with needing_keys():
        from nacl.exceptions import CryptoError  # noqa: PLC0415 see above
        from nacl.secret import SecretBox  # noqa: PLC0415

    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    try:
        document = json.loads(base64.b64decode(body))
        kdf, cipher = document["kdf"], document["cipher"]
        if kdf["name"] != "scrypt" or cipher["name"] != "nacl/secretbox":
            raise ValueError("an encryption that isn't known")
        n, r, p = (int(kdf["params"][name]) for name in ("N", "r", "p"))
        if not 1 < n * r * 128 <= _MOST_MEMORY or not 1 <= p <= 16:
            raise ValueError("an encryption that takes too much")
        secret = hashlib.scrypt(
            password,
            salt=base64.b64decode(kdf["salt"]),
            n=n,
            r=r,
            p=p,
            maxmem=_MOST_MEMORY + (1 << 20),
            dklen=SecretBox.KEY_SIZE,
        )
        nonce = base64.b64decode(cipher["nonce"])
        return SecretBox(secret).decrypt(base64.b64decode(document["ciphertext"]), nonce)
    except CryptoError as error:
        raise _WrongPassword from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no such document") from error


def _password_trouble(name: str, password: str | None) -> InputError:
    if not password:
        return InputError(
            f"the key {name} is encrypted, and there is no password",
            hint=f"set the variable {PASSWORD}",
        )
    return InputError(
        f"the key {name} doesn't open by the password in {PASSWORD}", hint="check the password"
    )


def _no_key(name: str, kind: str) -> InputError:
    return InputError(
        f"{name} holds no {kind} key that can be read", hint=f"keys are in PEM: {_KINDS}"
    )


def _other_kind(name: str) -> InputError:
    return InputError(f"{name} is a key of another kind than {_KINDS}", hint="use one of these")
