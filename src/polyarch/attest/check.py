"""Attestations of an image at a place: found, read, and checked to be about what they stand beside.

They are what the index lists for its manifests, and their referrers. Source: in-toto attestation framework,
statement v1; BuildKit's documentation of attestation storage.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.attest.statement import IN_TOTO, PREDICATE_TYPE
from polyarch.digest import Digest
from polyarch.errors import IntegrityError
from polyarch.golang.json import read_json
from polyarch.images.place import Place, read_blob
from polyarch.images.transfer import attestation_at
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest, subject_of
from polyarch.oci.media import is_index
from polyarch.oci.platform import NOWHERE
from polyarch.record import frozen

__all__ = ["FoundStatement", "check_attestations"]

_SUBJECT = "vnd.docker.reference.digest"
_TYPES = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_LARGEST = 40 << 20


@frozen
class FoundStatement:
    """A statement that is sound: of what type, about which manifest, in which blob."""

    type: str
    subject: Digest
    digest: Digest


def check_attestations(place: Place, root: Descriptor, data: bytes) -> tuple[FoundStatement, ...]:
    """Return the statements about the images of a root, whose bytes are `data`.

    Raises IntegrityError for one that isn't a statement, says that it is of another type, or is about something
    else than what it stands beside; RegistryError.
    """
    found: list[FoundStatement] = []
    for subject, manifest in _manifests(place, root, data):
        document = place.manifest(manifest)
        told = subject_of(document)
        if told not in {None, subject}:
            raise IntegrityError(
                f"the attestation {manifest.digest} is about {told}, and stands beside {subject}"
            )
        layers = parse_manifest(document).layers
        found += [_statement(place, each, subject) for each in layers if each.media_type == IN_TOTO]
    return tuple(found)


def _manifests(place: Place, root: Descriptor, data: bytes) -> Iterator[tuple[Digest, Descriptor]]:
    """Give the manifests of attestations, each with the digest of what it is about."""
    listed = parse_index(data).manifests if is_index(root.media_type) else (root,)
    images = [each for each in listed if each.platform is None or each.platform.os != NOWHERE.os]
    known = {each.digest for each in images}
    for each in listed:
        if _SUBJECT in each.annotations:
            subject = Digest(each.annotations[_SUBJECT])
            if subject not in known:
                raise IntegrityError(
                    f"the attestation {each.digest} is about {subject}, which the index doesn't list"
                )
            yield subject, each
    for image in images:
        if (referrer := attestation_at(place, image)) is not None:
            yield image.digest, referrer


def _statement(place: Place, layer: Descriptor, subject: Digest) -> FoundStatement:
    """Read a statement and check it. Subjects are names of the one image, so each has its digest."""
    try:
        document = read_json(read_blob(place, layer, _LARGEST))
    except ValueError as error:
        raise IntegrityError(f"the attestation {layer.digest} is no document: {error}") from error
    if not isinstance(document, dict) or document.get("_type") not in _TYPES:
        raise IntegrityError(f"the attestation {layer.digest} is no statement")
    kind = document.get("predicateType")
    if not isinstance(kind, str) or kind != layer.annotations.get(PREDICATE_TYPE, kind):
        raise IntegrityError(
            f"the attestation {layer.digest} isn't of the type that it is listed as"
        )
    subjects = document.get("subject")
    algorithm, _, value = subject.partition(":")
    for each in subjects if isinstance(subjects, list) else ():
        digests = each.get("digest") if isinstance(each, dict) else None
        if not isinstance(digests, dict) or digests.get(algorithm) != value:
            raise IntegrityError(f"the attestation {layer.digest} isn't about {subject}")
    return FoundStatement(type=kind, subject=subject, digest=layer.digest)
