"""What a build has left in the store: indexes, manifests, configs, attestations, found from its record.

Source: buildx's `commands/history/inspect.go`, `allAttachments`.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.digest import Digest
from polyarch.errors import NotFound, PolyarchError
from polyarch.history.record import BuildRecord, ResultInfo
from polyarch.history.records import History
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index
from polyarch.platforms import Platform
from polyarch.platforms import parse as parse_platform
from polyarch.record import frozen
from polyarch.store.blobs import Blobs

__all__ = ["PROVENANCE", "Attachment", "Attachments"]

PROVENANCE = "https://slsa.dev/provenance/"
"""What the types of provenance begin with."""

_KIND = "vnd.docker.reference.type"
_ATTESTATION = "attestation-manifest"
_OF = "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"


@frozen
class Attachment:
    """A document, and the platform that it is about; None for all of them."""

    descriptor: Descriptor
    platform: Platform | None = None

    @property
    def type(self) -> str:
        """The type of what an attestation says, else that of the document."""
        return self.descriptor.annotations.get(_PREDICATE) or self.descriptor.media_type


class Attachments:
    """The documents of one record. What the store has lost meanwhile isn't among them."""

    def __init__(self, history: History, record: BuildRecord, blobs: Blobs) -> None:
        self._history = history
        self._record = record
        self._blobs = blobs

    def all(self) -> tuple[Attachment, ...]:
        """Return them, those of all platforms first, then by platform and type."""
        found: list[Attachment] = []
        if self._record.result is not None:
            found += self._of(self._record.result, None)
        for name, result in self._record.results.items():
            found += self._of(result, parse_platform(name))
        return tuple(sorted(found, key=lambda each: (str(each.platform or ""), each.type)))

    def read(self, digest: Digest) -> bytes:
        """Return a document. Raises NotFound if it isn't there any more."""
        path = self._history.blob(self._record, digest)
        try:
            return path.read_bytes() if path.exists() else self._blobs.read(digest, _LIMIT)
        except OSError as error:
            raise NotFound(f"{digest} can't be read: {error.strerror}") from error

    def _of(self, result: ResultInfo, platform: Platform | None) -> Iterator[Attachment]:
        for each in result.attestations:
            yield Attachment(descriptor=each, platform=platform)
        for each in result.results:
            yield from self._below(each, platform)

    def _below(self, descriptor: Descriptor, platform: Platform | None) -> Iterator[Attachment]:
        try:
            data = self.read(descriptor.digest)
        except PolyarchError:
            return
        if descriptor.annotations.get(_KIND) == _ATTESTATION:
            for layer in parse_manifest(data).layers:
                yield Attachment(descriptor=layer, platform=platform)
            return
        yield Attachment(descriptor=descriptor, platform=platform)
        if not is_index(descriptor.media_type):
            return
        manifests = parse_index(data).manifests
        platforms = {str(each.digest): each.platform for each in manifests}
        for each in manifests:
            about = platforms.get(each.annotations.get(_OF, ""), each.platform)
            yield from self._below(each, about or platform)


_LIMIT = 8 * DOCUMENT_LIMIT
"""Bytes of a document: attestations may list much software."""
