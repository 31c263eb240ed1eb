"""What the answers of registries tell of documents, which not all of them tell alike."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urljoin

from polyarch.digest import Digest, hasher, hex_of, parse_digest
from polyarch.errors import IntegrityError, InvalidDigest, RegistryError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.media import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from polyarch.oci.reference import Reference
from polyarch.pattern import pattern
from polyarch.registry.transport import Response

__all__ = ["check_bytes", "check_tagged", "check_told", "find_told", "kind_of", "next_page"]

_DAMAGED = "the registry, or something in front of it, is damaged"
_KINDS = frozenset({DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST})
_VAGUE = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_NEXT = pattern(r'<([^>]*)>[^,]*;\s*(?i:rel)="?(?i:next)"?')


def find_told(response: Response, reference: Reference) -> Descriptor | None:
    """Return what the header fields tell of a document; None if they don't tell enough.

    Raises RegistryError for what is no digest, IntegrityError for another one than that of the reference.
    """
    size = response.headers.get("Content-Length", "")
    digest = response.headers.get("Docker-Content-Digest", "")
    # Some say that there is nothing in the body, since there is none in the answer to HEAD.
    is_told = size.isdecimal() and len(size) < 19 and int(size) > 0
    if response.status != 200 or not is_told or not digest or _media_type(response) in _VAGUE:
        return None
    try:
        told = parse_digest(digest)
    except InvalidDigest as error:
        raise RegistryError(f"{reference.domain} gives a wrong digest: {error}") from error
    check_told(told, reference, response.url)
    return Descriptor(media_type=_media_type(response), digest=told, size=int(size))


def kind_of(response: Response, data: bytes) -> str:
    """Return the media type of a document: what the answer says it is, or else what it says itself."""
    told = _media_type(response)
    if told in _KINDS or told not in _VAGUE:
        return told
    try:
        fields = read_document(data)
        if own := fields.text("mediaType"):
            return own
    except IntegrityError:
        return told  # which whoever reads the document finds out, too
    if "manifests" in fields:
        return OCI_INDEX
    return OCI_MANIFEST if "config" in fields else told


def check_tagged(response: Response, data: bytes) -> None:
    """Refuse a document that was damaged on its way, by the digest that the answer tells. Raises IntegrityError.

    What is asked for by a tag has no other. An answer that tells none, or one of something older, is believed.
    """
    told = response.headers.get("Docker-Content-Digest", "")
    if told and _media_type(response) in _KINDS:
        with suppress(InvalidDigest):
            check_bytes(data, parse_digest(told), response.url)


def next_page(response: Response) -> str:
    """Return where a list goes on, "" at its end. Source: distribution spec v1.1, "Listing Referrers"."""
    found = _NEXT.search(", ".join(response.headers.all("Link")))
    return urljoin(response.url, found[1]) if found else ""


def check_told(told: Digest, reference: Reference, url: str) -> None:
    """Refuse another manifest than the one that was asked for by its digest, sound as it may be."""
    if reference.digest and told != reference.digest:
        raise IntegrityError(f"{url} gives the manifest {told}", hint=_DAMAGED)


def check_bytes(data: bytes, digest: Digest, url: str) -> None:
    """Refuse other bytes than those of a digest. Raises IntegrityError."""
    found = hasher(digest)
    found.update(data)
    if found.hexdigest() != hex_of(digest):
        algorithm = digest.partition(":")[0]
        raise IntegrityError(
            f"{url} gives bytes with the digest {algorithm}:{found.hexdigest()}", hint=_DAMAGED
        )


def _media_type(response: Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()
