"""What signs: a key, or an identity for which a service gives a certificate."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Protocol

from polyarch.attest.statement import IN_TOTO
from polyarch.digest import Digest
from polyarch.oci.documents import Document, document
from polyarch.record import frozen, replace
from polyarch.signing.forms import (
    BUNDLE,
    PAYLOAD,
    SIGNATURE,
    bundle_by_key,
    payload_of,
    pre_authenticated,
    statement_of,
)

if TYPE_CHECKING:
    from polyarch.signing.keys import PrivateKey

__all__ = ["KeySigner", "Made", "Signer"]


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
