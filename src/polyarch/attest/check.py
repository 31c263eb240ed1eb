"""Attestations of an image at a place: found, read, and checked to be about what they stand beside.

They are what the index lists for its manifests, and their referrers. Source: in-toto attestation framework,
statement v1; BuildKit's documentation of attestation storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.attest.statement import IN_TOTO, PREDICATE_TYPE
from polyarch.digest import Digest
from polyarch.errors import IntegrityError, InvalidDigest, NotFound
from polyarch.golang.json import read_json
from polyarch.images.place import Source, read_blob
from polyarch.images.transfer import attestation_at
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest, subject_of
from polyarch.oci.media import is_index
from polyarch.oci.platform import NOWHERE
from polyarch.record import field, frozen, mutable

__all__ = ["Attestations", "FoundStatement", "Trouble", "check_attestations"]

_SUBJECT = "vnd.docker.reference.digest"
_TYPES = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_LARGEST = 40 << 20


@frozen
class FoundStatement:
    """A statement that is sound: of what type, about which manifest, in which blob."""

    type: str
    subject: Digest
    digest: Digest


@frozen
class Trouble:
    """What is wrong with a document: an attestation, or one of its statements."""

    digest: Digest
    what: str


@mutable
class Attestations:
    """What is attested of an image, and what of it isn't what it claims to be."""

    statements: list[FoundStatement] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    @contextmanager
    def noting(self, digest: Digest) -> Iterator[None]:
        """Note what goes wrong inside as one of a document."""
        try:
            yield
        except (IntegrityError, InvalidDigest, NotFound) as error:
            self.troubles.append(Trouble(digest=digest, what=str(error)))


def check_attestations(
    place: Source, root: Descriptor, data: bytes, *, partial: bool = False
) -> Attestations:
    """Look at what is attested of the images of a root, whose bytes are `data`.

    A trouble is an attestation that is about something else than what it stands beside, or about nothing that is listed,
    and a statement that is none, or of another type than it is listed as. With `partial` the place may lack some.
    Raises RegistryError.
    """
    found = Attestations()
    for subject, manifest in _manifests(place, root, data, found):
        with found.noting(manifest.digest):
            try:
                document = place.manifest(manifest)
            except NotFound:
                if partial:
                    continue
                raise
            told = subject_of(document)
            if told not in {None, subject}:
                raise IntegrityError(
                    f"the attestation is about {told}, and stands beside {subject}"
                )
            for layer in parse_manifest(document).layers:
                if layer.media_type == IN_TOTO:
                    with found.noting(layer.digest):
                        found.statements.append(_statement(place, layer, subject))
    return found


def _manifests(
    place: Source, root: Descriptor, data: bytes, found: Attestations
) -> Iterator[tuple[Digest, Descriptor]]:
    """Give the manifests of attestations, each with the digest of what it is about."""
    listed = parse_index(data).manifests if is_index(root.media_type) else (root,)
    images = [each for each in listed if each.platform is None or each.platform.os != NOWHERE.os]
    known = {each.digest for each in images}
    for each in listed:
        if _SUBJECT in each.annotations:
            subject = Digest(each.annotations[_SUBJECT])
            if subject in known:
                yield subject, each
            else:
                what = f"the attestation is about {subject}, which the index doesn't list"
                found.troubles.append(Trouble(digest=each.digest, what=what))
    for image in images:
        if (referrer := attestation_at(place, image)) is not None:
            yield image.digest, referrer


def _statement(place: Source, layer: Descriptor, subject: Digest) -> FoundStatement:
    """Read a statement and check it. Subjects are names of the one image, so each has its digest."""
    try:
        document = read_json(read_blob(place, layer, _LARGEST))
    except ValueError as error:
        raise IntegrityError(f"the attestation is no document: {error}") from error
    if not isinstance(document, dict) or document.get("_type") not in _TYPES:
        raise IntegrityError("the attestation is no statement")
    kind = document.get("predicateType")
    if not isinstance(kind, str) or kind != layer.annotations.get(PREDICATE_TYPE, kind):
        raise IntegrityError("the attestation isn't of the type that it is listed as")
    subjects = document.get("subject")
    algorithm, _, value = subject.partition(":")
    for each in subjects if isinstance(subjects, list) else ():
        digests = each.get("digest") if isinstance(each, dict) else None
        if not isinstance(digests, dict) or digests.get(algorithm) != value:
            raise IntegrityError(f"the attestation isn't about {subject}")
    return FoundStatement(type=kind, subject=subject, digest=layer.digest)
