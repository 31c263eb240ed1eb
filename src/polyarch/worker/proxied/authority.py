"""A CA for one step: what it signs is believed by that step and by nobody else, as its key never leaves this process."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

__all__ = ["StepAuthority"]

_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_HOUR = dt.timedelta(hours=1)
_LIFETIME = dt.timedelta(days=7)
"""Longer than any step runs."""


class StepAuthority:
    """Makes certificates for whatever a step asks for. May be used from many threads."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("polyarch, for one step")
        self._certificate = self._signed(self._name, is_authority=True)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    @property
    def certificate(self) -> bytes:
        """What the step has to trust, in DER form."""
        return self._certificate.public_bytes(Encoding.DER)

    def context(self, host: str) -> ssl.SSLContext:
        """Return how to speak TLS as a machine."""
        with self._lock:
            found = self._contexts.get(host)
            if found is None:
                found = self._contexts[host] = self._new_context(host)
            return found

    def _new_context(self, host: str) -> ssl.SSLContext:
        names: Sequence[Any]
        try:
            names = [x509.IPAddress(ipaddress.ip_address(host.strip("[]")))]
        except ValueError:
            names = [x509.DNSName(host)]
        certificate = self._signed(_name("polyarch"), names=x509.SubjectAlternativeName(names))
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # OpenSSL reads files only; this one is in memory, and nobody else's.
        file = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(file, pem + certificate.public_bytes(Encoding.PEM))
            context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
        return context

    def _signed(
        self,
        subject: x509.Name,
        *,
        names: x509.SubjectAlternativeName | None = None,
        is_authority: bool = False,
    ) -> x509.Certificate:
        # Clocks of steps are this machine's.
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _HOUR)
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        # Programs of steps that heed RFC 5280 to the letter, as Python's from 3.13 on, want these.
        public = self._key.public_key()
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        builder = builder.add_extension(identifier, critical=False)
        if is_authority:
            builder = builder.add_extension(_SIGNS, critical=True)
        else:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
            builder = builder.add_extension(issuer, critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
