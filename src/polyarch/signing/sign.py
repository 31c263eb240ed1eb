"""Signs what a place has: an image's root, the manifests that it lists, and the attestations beside them.

A signature names a digest, and an index names the digests of all below it: that of the root would do. The others are
for those who know an image by its digest for one platform alone. What is signed already by the same key isn't signed
again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator, Iterable, Iterator, Sequence

from polyarch.digest import Digest
from polyarch.errors import IntegrityError, NotFound
from polyarch.images.place import BlobReader, Place, read_blob
from polyarch.images.transfer import attestation_at
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import Document, document
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import EMPTY, is_index
from polyarch.oci.platform import NOWHERE
from polyarch.progress import CancelToken
from polyarch.record import field, frozen
from polyarch.signing.forms import (
    EMPTY_CONFIG,
    PAYLOAD,
    SIGNATURE,
    referrer_of,
    signature_tag,
    tagged_manifest,
)
from polyarch.signing.signer import Signer

__all__ = ["Subject", "sign_image", "signature_in", "subjects_of"]


@frozen
class Subject:
    """A manifest that may be signed. `is_below` says that the root names its digest, and so vouches for it."""

    descriptor: Descriptor
    what: str
    is_below: bool = False


def subjects_of(place: Place, root: Descriptor) -> Iterator[Subject]:
    """Yield what there is to sign of an image at a place: its root first. Raises as reading the place does."""
    if not is_index(root.media_type):
        yield Subject(descriptor=root, what="image")
        yield from _beside(place, root)
        return
    yield Subject(descriptor=root, what="index")
    seen = {root.digest}
    for each in parse_index(place.manifest(root)).manifests:
        if each.digest in seen:
            continue
        seen.add(each.digest)
        is_image = each.platform is None or each.platform.os != NOWHERE.os
        what = f"image {each.platform}" if is_image and each.platform else "attestation"
        yield Subject(descriptor=each, what=what, is_below=True)
        if is_image:
            yield from (one for one in _beside(place, each) if one.descriptor.digest not in seen)


def _beside(place: Place, image: Descriptor) -> Iterator[Subject]:
    """Yield the attestation that refers to an image and isn't listed with it."""
    found = attestation_at(place, image)
    if found is not None:
        yield Subject(descriptor=found, what=f"attestation of {image.digest}")


def sign_image(
    place: Place, root: Descriptor, signers: Sequence[Signer], cancel: CancelToken
) -> tuple[Digest, ...]:
    """Sign an image at a place by all signers, and put the signatures there; return the digests that are signed.

    Raises RegistryError, IntegrityError, and what the signers raise.
    """
    signed = []
    for subject in list(subjects_of(place, root)):
        cancel.check()
        _Signing(place=place, subject=subject.descriptor).carry_out(signers)
        signed.append(subject.descriptor.digest)
    return tuple(signed)


def signature_in(payload: Descriptor) -> bytes | None:
    """Return the signature that stands with a payload under a tag; None for what is none."""
    text = payload.annotations.get(SIGNATURE, "")
    if payload.media_type != PAYLOAD or not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


@frozen
class _Signing:
    """One digest being signed at a place."""

    place: Place
    subject: Descriptor

    def carry_out(self, signers: Iterable[Signer]) -> None:
        """Sign, and put the signatures there."""
        payloads: list[Document] = []
        old = self._old()
        for signer in signers:
            made = signer.sign(self.place.name, self.subject.digest)
            self._put_bundle(made.bundle)
            if made.payload is not None and not any(self._is_by(signer, each) for each in old):
                payloads.append(made.payload)
        if payloads:
            self._put_tagged(old, payloads)

    def _old(self) -> tuple[Descriptor, ...]:
        """Return the payloads that are under the tag."""
        try:
            _, data = self.place.load(signature_tag(self.subject.digest))
        except NotFound:
            return ()
        return parse_manifest(data).layers

    def _is_by(self, signer: Signer, payload: Descriptor) -> bool:
        signature = signature_in(payload)
        if signature is None:
            return False
        try:
            return signer.is_by(read_blob(self.place, payload), signature)
        except (NotFound, IntegrityError):
            return False

    def _put_tagged(self, old: Iterable[Descriptor], payloads: Iterable[Document]) -> None:
        made = tuple(payloads)
        manifest, config = tagged_manifest((*old, *(each.descriptor for each in made)))
        self._put_blobs((*made, config))
        self.place.tag(signature_tag(self.subject.digest), manifest.descriptor, manifest.data)

    def _put_bundle(self, bundle: Document) -> None:
        manifest = referrer_of(self.subject, bundle)
        self._put_blobs((bundle, document(EMPTY, EMPTY_CONFIG)))
        self.place.put_manifest(manifest.descriptor, manifest.data, self.subject.digest)

    def _put_blobs(self, blobs: Iterable[Document]) -> None:
        source = _Held(held={each.descriptor.digest: each.data for each in blobs})
        for digest, data in source.held.items():
            blob = Descriptor(media_type="", digest=digest, size=len(data))
            self.place.take_blob(blob, source, lambda _: None)


@frozen
class _Held:
    """Documents in memory, as a place that blobs come from."""

    held: dict[Digest, bytes] = field(default_factory=dict)
    name: str = ""

    def manifest(self, descriptor: Descriptor) -> bytes:
        """See Source."""
        return self.held[descriptor.digest]

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """See Source."""
        return BlobReader(chunks=lambda: self._chunks(blob.digest))

    def _chunks(self, digest: Digest) -> Generator[bytes, None, None]:
        yield self.held[digest]

    def origins(self, _digest: Digest) -> tuple[str, ...]:
        """See Source."""
        return ()

    def referrers(self, _subject: Digest) -> tuple[Descriptor, ...]:
        """See Source."""
        return ()
