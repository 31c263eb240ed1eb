"""What signs: a key, or an identity for which a service gives a certificate."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from polyarch.attest.statement import IN_TOTO
from polyarch.digest import Digest
from polyarch.oci.documents import Document, document
from polyarch.record import frozen, replace
from polyarch.request.signing import Signing
from polyarch.signing.forms import (
    BUNDLE,
    PAYLOAD,
    SIGNATURE,
    bundle_by_key,
    payload_of,
    pre_authenticated,
    statement_of,
)
from polyarch.signing.needs import needing_keys, needing_sigstore

if TYPE_CHECKING:
    from polyarch.signing.keys import PrivateKey

__all__ = ["KeySigner", "Made", "Signer", "open_signers"]


@frozen
class Made:
    """What a signer made of one digest: a bundle, and, by a key, a payload whose descriptor has the signature."""

    bundle: Document
    payload: Document | None = None


class Signer(Protocol):
    """Signs."""

    def sign(self, repository: str, subject: Digest) -> Made:
        """Sign an image of a repository. Raises MachineError, RemoteError where a service is asked."""

    def is_by(self, payload: bytes, signature: bytes) -> bool:
        """Tell whether a signature that is under a tag is one of this signer, which then needs no other."""


@frozen
class KeySigner:
    """Signs by a key, without asking anybody."""

    key: PrivateKey

    def sign(self, repository: str, subject: Digest) -> Made:
        """See Signer."""
        statement = statement_of(repository, subject)
        signed = self.key.sign(pre_authenticated(IN_TOTO, statement))
        bundle = bundle_by_key(statement, signed, self.key.public.hint)
        data = payload_of(repository, subject)
        payload = document(PAYLOAD, data)
        noted = {SIGNATURE: base64.b64encode(self.key.sign(data)).decode()}
        return Made(
            bundle=document(BUNDLE, bundle),
            payload=replace(payload, descriptor=replace(payload.descriptor, annotations=noted)),
        )

    def is_by(self, payload: bytes, signature: bytes) -> bool:
        """See Signer."""
        return self.key.public.verify(signature, payload)


def open_signers(signings: Iterable[Signing], environ: Mapping[str, str]) -> tuple[Signer, ...]:
    """Return the signers that are asked for; keys are read now, identities found out later.

    Raises InputError for a key that can't be used, or where
    nothing says who signs; MachineError without the libraries.
    """
    signers: list[Signer] = []
    for each in signings:
        if each.key:
            with needing_keys():
                from polyarch.signing.keys import load_private_key  # noqa: PLC0415 few builds sign

            signers.append(KeySigner(key=load_private_key(each.key, environ)))
        else:
            with needing_sigstore():
                from polyarch.signing.keyless import open_keyless  # noqa: PLC0415 as above

            signers.append(open_keyless(each.config, environ, may_ask=each.may_ask))
    return tuple(signers)
