"""Signatures of an image at a place: found in both of their forms, and checked by a key or an identity.

The root has to be signed, and so has an attestation that no index lists: anybody who can push could have put it there.
What else is found that doesn't count, others' signatures and damaged ones, does no harm, and its reasons are told if
nothing counts.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Protocol

from polyarch.attest.statement import IN_TOTO
from polyarch.digest import Digest
from polyarch.errors import IntegrityError, NotFound
from polyarch.images.place import Place, read_blob
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.manifest import parse_manifest
from polyarch.record import frozen
from polyarch.signing.forms import BUNDLE, PREDICATE, pre_authenticated, signature_tag
from polyarch.signing.sign import Subject, signature_in, subjects_of

__all__ = [
    "Envelope",
    "Found",
    "Judge",
    "Refused",
    "Signatory",
    "Vouched",
    "read_bundle",
    "signed_bytes",
    "verify_signatures",
]

_LARGEST = 40 << 20
_MOST = 1000
"""Signatures of one digest that are looked at, as with cosign."""


class Refused(Exception):
    """A signature that doesn't count, and why."""


@frozen
class Envelope:
    """The statement that a bundle holds, with its signature; `bundle` is all of it."""

    statement: bytes
    signature: bytes
    bundle: bytes


@frozen
class Found:
    """A signature as it lies: a payload under a tag, or an envelope in a bundle; `digest` is that of its blob."""

    digest: Digest
    form: str
    payload: bytes = b""
    signature: bytes = b""
    envelope: Envelope | None = None
    has_certificate: bool = False


@frozen
class Signatory:
    """Who has signed, in which form: the fingerprint of a key, or an identity with who vouches for it."""

    form: str
    key: str = ""
    identity: str = ""
    issuer: str = ""

    def __str__(self) -> str:
        """Say it in a few words."""
        by = f"the key {self.key}" if self.key else f"{self.identity} ({self.issuer})"
        return f"{by}, {self.form}"


class Judge(Protocol):
    """Knows who is trusted."""

    @property
    def name(self) -> str:
        """Who that is, for errors."""

    def judge(self, found: Found) -> Signatory:
        """Return who has signed. Raises Refused for others, and for signatures that aren't right.

        That the signature is of the right digest is looked at elsewhere.
        """


@frozen
class Vouched:
    """A manifest of the image, who has signed it, and why other signatures of it don't count."""

    subject: Subject
    by: tuple[Signatory, ...]
    refused: tuple[str, ...] = ()

    @property
    def is_missing(self) -> bool:
        """Whether somebody had to sign it, and nobody did."""
        return not self.by and not self.subject.is_below


def verify_signatures(place: Place, root: Descriptor, judge: Judge) -> tuple[Vouched, ...]:
    """Return who has signed an image at a place, and what belongs to it. Raises RegistryError, IntegrityError."""
    return tuple(_vouched(place, each, judge) for each in subjects_of(place, root))


def _vouched(place: Place, subject: Subject, judge: Judge) -> Vouched:
    by: dict[Signatory, None] = {}
    refused: dict[str, None] = {}
    for load in _signatures(place, subject.descriptor.digest):
        try:
            found = load.read(place)
            _check_subject(found, subject.descriptor.digest)
            by[judge.judge(found)] = None
        except Refused as error:
            refused[str(error)] = None
        except (IntegrityError, NotFound) as error:
            refused[f"a signature can't be read: {error}"] = None
    return Vouched(subject=subject, by=tuple(by), refused=tuple(refused))


@frozen
class _Lying:
    """A signature that is somewhere at the place, and wasn't read yet."""

    blob: Descriptor
    is_bundle: bool

    def read(self, place: Place) -> Found:
        """Read it. Raises Refused, IntegrityError, NotFound."""
        if not self.is_bundle:
            signature = signature_in(self.blob)
            if signature is None:
                raise Refused(f"{self.blob.digest} has no signature with it")
            return Found(
                digest=self.blob.digest,
                form="tag",
                payload=read_blob(place, self.blob),
                signature=signature,
                has_certificate="dev.sigstore.cosign/certificate" in self.blob.annotations,
            )
        manifest = parse_manifest(place.manifest(self.blob))
        layers = [each for each in manifest.layers if each.media_type == BUNDLE]
        if len(layers) != 1:
            raise Refused(f"{self.blob.digest} isn't a bundle")
        data = read_blob(place, layers[0], _LARGEST)
        return read_bundle(layers[0].digest, data)


def _signatures(place: Place, subject: Digest) -> Iterator[_Lying]:
    """Yield the signatures of a digest, in both forms."""
    try:
        _, data = place.load(signature_tag(subject))
    except NotFound:
        data = b""
    tagged = parse_manifest(data).layers if data else ()
    for each in tagged[:_MOST]:
        yield _Lying(blob=each, is_bundle=False)
    bundles = [each for each in place.referrers(subject) if each.artifact_type == BUNDLE]
    for each in bundles[:_MOST]:
        yield _Lying(blob=each, is_bundle=True)


def read_bundle(digest: Digest, data: bytes) -> Found:
    """Read a bundle, whose blob has the digest. Raises Refused, IntegrityError."""
    fields = read_document(data)
    if "dsseEnvelope" not in fields:
        raise Refused(f"the bundle {digest} is of something else than a statement")
    envelope = fields.object("dsseEnvelope")
    signatures = [_decoded(each.text("sig")) for each in envelope.objects("signatures")]
    if len(signatures) != 1 or envelope.text("payloadType") != IN_TOTO:
        raise Refused(f"the bundle {digest} isn't a signed statement")
    material = fields.object("verificationMaterial")
    return Found(
        digest=digest,
        form="bundle",
        has_certificate="publicKey" not in material,
        envelope=Envelope(
            statement=_decoded(envelope.text("payload")), signature=signatures[0], bundle=data
        ),
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise IntegrityError("it isn't base64") from error


def _check_subject(found: Found, subject: Digest) -> None:
    """Raise Refused, IntegrityError unless a signature says that it is one of this digest."""
    if found.envelope is None:
        image = read_document(found.payload).object("critical").object("image")
        told = {image.text("docker-manifest-digest")}
    else:
        statement = read_document(found.envelope.statement)
        if statement.text("predicateType") != PREDICATE:
            # An attestation, as GitHub's: it says something of the image, and isn't its signature.
            raise Refused(f"a signed statement of another kind: {statement.text('predicateType')}")
        told = {
            f"{algorithm}:{value}"
            for each in statement.objects("subject")
            for algorithm, value in each.text_map("digest").items()
        }
    if subject not in told:
        raise Refused(f"a signature of another image, {' and '.join(sorted(told)) or 'none'}")


def signed_bytes(found: Found) -> tuple[bytes, bytes]:
    """Return what a signature is of, and the signature."""
    if found.envelope is None:
        return found.payload, found.signature
    return pre_authenticated(IN_TOTO, found.envelope.statement), found.envelope.signature
