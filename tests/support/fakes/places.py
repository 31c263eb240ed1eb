"""A place of images in memory, which counts what it is asked and can fail."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.images.place import BlobReader, OnBytes, Source
from polyarch.oci.descriptor import Descriptor

__all__ = ["MemoryPlace"]


class MemoryPlace:
    """Keeps blobs and tags. `before` is called with each request, as `verb what`, and may raise."""

    def __init__(self, name: str = "registry.example/caches") -> None:
        self.name = name
        self.blobs: dict[Digest, bytes] = {}
        self.tags: dict[str, tuple[Descriptor, bytes]] = {}
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda _request: None

    def _ask(self, verb: str, what: str) -> None:
        self.asked.append(f"{verb} {what}")
        self.before(self.asked[-1])

    def load(self, target: str) -> tuple[Descriptor, bytes]:
        self._ask("load", target)
        if target not in self.tags:
            raise NotFound(f"{self.name}:{target}: not found")
        return self.tags[target]

    def manifest(self, descriptor: Descriptor) -> bytes:
        self._ask("manifest", descriptor.digest)
        return self.blobs[descriptor.digest]

    def open_blob(self, blob: Descriptor) -> BlobReader:
        self._ask("read", blob.digest)
        if blob.digest not in self.blobs:
            raise NotFound(f"{blob.digest}: not found")
        return BlobReader(chunks=lambda: self._chunks(blob.digest))

    def _chunks(self, digest: Digest) -> Generator[bytes, None, None]:
        yield self.blobs[digest]

    def holds(self, blob: Descriptor) -> bool:
        self._ask("holds", blob.digest)
        return blob.digest in self.blobs

    def origins(self, _digest: Digest) -> Iterable[str]:
        return ()

    def referrers(self, _subject: Digest) -> tuple[Descriptor, ...]:
        return ()

    def is_whole(self, _digest: Digest) -> bool:
        return False

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        self._ask("take", blob.digest)
        if blob.digest not in self.blobs:
            with closing(source.open_blob(blob).chunks()) as chunks:
                self.blobs[blob.digest] = b"".join(chunks)
        on_bytes(blob.size)

    def put_manifest(self, descriptor: Descriptor, data: bytes, _subject: Digest | None) -> None:
        self.blobs[descriptor.digest] = data

    def tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        self._ask("tag", tag)
        self.tags[tag] = descriptor, data
