"""Caches in stores of objects: S3 and whatever speaks its protocol, Azure's Blob Storage.

The layout is BuildKit's, so that each reads what the other wrote: a blob is an object called by its digest, and a cache is
the document itself (`form.py`), called by its name. Stores keep the bytes; what they are asked is here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Protocol

from polyarch.caches.form import CONFIG
from polyarch.digest import Digest, fits, sha256
from polyarch.errors import IntegrityError, NotFound, RemoteError
from polyarch.images.place import BlobReader, OnBytes, Source, Unlinked
from polyarch.oci.descriptor import Descriptor
from polyarch.record import frozen

__all__ = ["ChunkFile", "ObjectPlace", "ObjectStore", "failed", "missing"]

_DOCUMENT_LIMIT = 64 << 20


class ObjectStore(Protocol):
    """A store of objects. What it raises is a RemoteError. Used from several threads."""

    @property
    def address(self) -> str:
        """What tells the store from others."""

    def has(self, key: str) -> bool:
        """Return whether there is an object; one that would soon be removed by its age is made young again."""

    def read(self, key: str) -> Generator[bytes, None, None]:
        """Give the bytes of an object. Raises NotFound."""

    def write(self, key: str, size: int, chunks: Iterator[bytes]) -> None:
        """Keep an object of `size` bytes, in place of what has its key."""


class ChunkFile:
    """Chunks as a file that is read once from its start, for libraries that want one. `on_bytes` is told how far it is."""

    def __init__(self, chunks: Iterator[bytes], on_bytes: OnBytes = lambda _bytes: None) -> None:
        self._chunks = chunks
        self._on_bytes = on_bytes
        self._rest = b""
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer only at the end; all that is left if it is negative."""
        found = bytearray(self._rest)
        self._rest = b""
        while size < 0 or len(found) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            found += chunk
        if size >= 0:
            self._rest = bytes(found[size:])
            del found[size:]
        self._done += len(found)
        self._on_bytes(self._done)
        return bytes(found)


@frozen
class ObjectPlace(Unlinked):
    """A store as a place of caches. `blob_key` and `name_key` say what is called how; `names` are written, the first is read."""

    store: ObjectStore
    blob_key: Callable[[str], str]
    name_key: Callable[[str], str]
    names: Sequence[str]

    @property
    def name(self) -> str:
        """What the place is called; layers that came from it remember this."""
        return self.store.address

    def load(self, _target: str) -> tuple[Descriptor, bytes]:
        """Return the cache of the first name: the document itself. Raises NotFound, RemoteError."""
        data = self._read(self.name_key(self.names[0]), _DOCUMENT_LIMIT)
        return Descriptor(media_type=CONFIG, digest=sha256(data), size=len(data)), data

    def _read(self, key: str, limit: int) -> bytes:
        data = bytearray()
        with closing(self.store.read(key)) as chunks:
            for chunk in chunks:
                data += chunk
                if len(data) > limit:
                    raise IntegrityError(f"{self.name}: {key} has more than {limit} bytes")
        return bytes(data)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a document by its digest. Raises NotFound, IntegrityError, RemoteError."""
        data = self._read(self.blob_key(descriptor.digest), _DOCUMENT_LIMIT)
        if not fits(data, descriptor.digest):
            raise IntegrityError(f"{self.name} has other bytes than those of {descriptor.digest}")
        return data

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read. Raises NotFound, RemoteError."""
        return BlobReader(chunks=lambda: self.store.read(self.blob_key(blob.digest)))

    def holds(self, blob: Descriptor) -> bool:
        """Return whether a blob is here. Raises RemoteError."""
        return self.store.has(self.blob_key(blob.digest))

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Keep a blob unless it is here. Raises RemoteError, and what the source raises."""
        on_bytes(0)
        if not self.holds(blob):
            with closing(source.open_blob(blob).chunks()) as chunks:
                self.store.write(self.blob_key(blob.digest), blob.size, _checked(chunks, on_bytes))
        on_bytes(blob.size)

    def put_manifest(self, descriptor: Descriptor, data: bytes, _subject: Digest | None) -> None:
        """Keep a document by its digest. Raises RemoteError."""
        self.store.write(self.blob_key(descriptor.digest), len(data), iter((data,)))

    def tag(self, _tag: str, _descriptor: Descriptor, data: bytes) -> None:
        """Let a document be the cache of all names. Raises RemoteError."""
        for name in self.names:
            self.store.write(self.name_key(name), len(data), iter((data,)))


def _checked(chunks: Iterable[bytes], on_bytes: OnBytes) -> Iterator[bytes]:
    """Hand chunks on; whoever looks on may end that by raising."""
    done = 0
    for chunk in chunks:
        on_bytes(done)
        done += len(chunk)
        yield chunk


def missing(address: str, key: str) -> NotFound:
    """Return the error for an object that isn't there."""
    return NotFound(f"{address} has no {key}", hint="caches are written by --cache-to")


def failed(address: str, error: Exception, *, status: int = 0) -> RemoteError:
    """Return the error for what a library said, which may be many lines."""
    reason = str(error).partition("\n")[0]
    return RemoteError(f"{address}: {reason}", status=status)
