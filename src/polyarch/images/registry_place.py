"""A repository of a registry as a place of images. Source: OCI distribution spec v1.1."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import takewhile

from polyarch.digest import Digest, parse_digest
from polyarch.errors import NotFound
from polyarch.images.place import BlobReader, OnBytes, Source
from polyarch.images.tally import Arrival
from polyarch.oci.descriptor import Descriptor, check_document
from polyarch.oci.reference import Reference
from polyarch.record import field, frozen, replace
from polyarch.registry.client import Client

__all__ = ["Early", "RegistryPlace", "nearest", "not_early"]

Early = Callable[[str, Descriptor, OnBytes], Arrival | None]
"""From a repository and a blob to how that came to be there; None if nobody else has seen to it."""


def not_early(_repository: str, _blob: Descriptor, _on_bytes: OnBytes) -> None:
    """See Early: nobody has seen to it."""


@frozen
class RegistryPlace:
    """The repository of `reference`, whose tag and digest only say how errors call it.

    `on_blob` is told how each blob came to be here, from several threads. `early` is asked first whether a blob has been sent
    here by somebody else, for whom it waits.
    """

    reference: Reference
    client: Client
    on_blob: Callable[[Descriptor, Arrival], None] = field(
        default=lambda _blob, _arrival: None, compare=False
    )

    @property
    def name(self) -> str:
        """The repository, `domain/path`."""
        return self.reference.repository

    early: Early = field(default=not_early, compare=False)

    def resolve(self) -> Descriptor:
        """Return what the reference stands for now, without its bytes. Raises NotFound, RegistryError."""
        found = self.client.head_manifest(self.reference)
        if found is None:
            raise NotFound(
                f"{self.reference.canonical}: not found",
                hint="check the name and the tag of the image",
            )
        return found

    def load(self, target: str) -> tuple[Descriptor, bytes]:
        """Return what a tag or a digest stands for. Raises NotFound, RegistryError, IntegrityError."""
        tag, digest = (None, parse_digest(target)) if ":" in target else (target, None)
        reference = replace(self.reference, tag=tag, digest=digest)
        try:
            data, media_type, found = self.client.get_manifest(reference, target)
        except NotFound as error:
            raise NotFound(f"{reference}: not found", hint=error.hint) from error
        return Descriptor(media_type=media_type, digest=found, size=len(data)), data

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, RegistryError, IntegrityError."""
        check_document(descriptor)
        return self.client.get_manifest(self.reference, descriptor.digest)[0]

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read; a connection that breaks is taken up where it broke."""
        return BlobReader(chunks=lambda: self._chunks(blob))

    def _chunks(self, blob: Descriptor) -> Generator[bytes, None, None]:
        yield from self.client.read_blob(self.name, blob)

    def holds(self, blob: Descriptor) -> bool:
        """Return whether a blob is here. Raises RegistryError."""
        return self.client.has_blob(self.name, blob.digest)

    def origins(self, _digest: Digest) -> Iterable[str]:
        """Give the repository itself."""
        return (self.name,)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests that are about another one. Raises RegistryError, IntegrityError."""
        return self.client.referrers(self.name, subject)

    def is_whole(self, digest: Digest) -> bool:
        """Return whether a manifest is here: registries take none before all that it needs."""
        return self.client.has_manifest(self.name, digest)

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Mount a blob from where it is known to be at the same registry, or else upload it.

        Raises RegistryError and what the source raises.
        """
        on_bytes(0)
        arrival = self.early(self.name, blob, on_bytes) or self._found(blob.digest, source)
        if arrival is None:
            arrival, chunks = Arrival.UPLOADED, source.open_blob(blob).chunks
            self.client.upload_blob(
                self.name, blob.digest, blob.size, lambda: _told(chunks, blob.size, on_bytes)
            )
        on_bytes(blob.size)
        self.on_blob(blob, arrival)

    def _found(self, digest: Digest, source: Source) -> Arrival | None:
        if self.client.has_blob(self.name, digest):
            return Arrival.THERE
        origin = nearest(self.name, source.origins(digest))
        is_mounted = bool(origin) and self.client.mount_blob(self.name, digest, origin)
        return Arrival.MOUNTED if is_mounted else None

    def put_manifest(self, descriptor: Descriptor, data: bytes, subject: Digest | None) -> None:
        """Keep a manifest or index under its digest. Raises RegistryError."""
        if subject is None:
            self.tag("", descriptor, data)
        else:
            self.client.put_referrer(self.name, descriptor, data, subject)

    def tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Keep a manifest or index under a tag, or its digest. Raises RegistryError."""
        target = tag or descriptor.digest
        self.client.put_manifest(self.name, target, data, descriptor.media_type)


def _told(
    chunks: Callable[[], Generator[bytes, None, None]], size: int, on_bytes: OnBytes
) -> Generator[bytes, None, None]:
    """Hand a blob's bytes on and tell how many were sent; all of them are there when the registry says so."""
    done = 0
    with closing(chunks()) as opened:
        for chunk in opened:
            yield chunk
            done += len(chunk)
            if done < size:
                on_bytes(done)


def nearest(repository: str, origins: Iterable[str]) -> str:
    """Return the one at the registry of `repository` whose path is most like it, or ""."""
    domain = repository.partition("/")[0]
    near = [each for each in origins if each.partition("/")[0] == domain and each != repository]
    return max(near, key=lambda each: _shared(each, repository), default="")


def _shared(one: str, other: str) -> int:
    """Count the components that two paths begin with alike."""
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
