"""The local store as a place of images, and blobs on their way into it.

The store may know of a blob without having it: a base layer that no step has read is still where it came
from. As a source it says where that is, for it to be mounted there; if it has to be read, it is fetched first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial

from polyarch.digest import Digest
from polyarch.errors import IntegrityError, NotFound, PolyarchError, RemoteError, about_blob
from polyarch.golang.json import compact
from polyarch.images.place import BlobReader, OnBytes, Source, read_blob
from polyarch.images.places import Places
from polyarch.oci.base import is_at_registry
from polyarch.oci.descriptor import Descriptor, check_document
from polyarch.oci.media import is_config
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, Step
from polyarch.record import field, frozen
from polyarch.store.blobs import Blobs
from polyarch.store.refs import RefKind
from polyarch.store.store import Store

__all__ = ["Fetcher", "KeptDocuments", "StoreAsItIs", "StorePlace", "remember"]

_CHUNK = 1 << 20


@frozen
class Fetcher:
    """Brings blobs into the store, each once for all processes that share it.

    Those that it fetches are shown as parts of `shown`. `bound` is entered for each of them, and may wait.
    """

    store: Store
    places: Places
    cancel: CancelToken
    shown: Step
    bound: AbstractContextManager[object] = field(default_factory=nullcontext)

    def ensure(self, blob: Descriptor, sources: Iterable[str]) -> None:
        """Fetch a blob unless it is here, from the first of its sources that gives it.

        Raises the last source's error, NotFound if there is none; IntegrityError, StoreError, Cancelled.
        """
        # The lock comes before the bound: those who wait for it keep nobody else from fetching.
        with self._alone(blob) as is_missing:
            if is_missing:
                started = time.time()
                tell = partial(self.shown.status, blob.digest, total=blob.size, started=started)
                with self.bound, about_blob(blob.digest):
                    self._fetch_from(map(self.places.at, sources), blob, tell)
                tell(blob.size, is_done=True)

    def take(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Fetch a blob from a place unless it is here. Raises as `ensure`."""
        with self._alone(blob) as is_missing:
            if is_missing:
                self._fetch(blob, source, on_bytes)

    @contextmanager
    def _alone(self, blob: Descriptor) -> Iterator[bool]:
        """Tell whether a blob is missing, while nobody else fetches it."""
        if self.store.blobs.has(blob.digest, size=blob.size):
            yield False
            return
        with self.store.locks.exclusive(f"fetch-{blob.digest}", check=self.cancel.check):
            yield not self.store.blobs.has(blob.digest, size=blob.size)

    def _fetch_from(self, sources: Iterable[Source], blob: Descriptor, on_bytes: OnBytes) -> None:
        failure: PolyarchError = NotFound(f"nobody is known to have the blob {blob.digest}")
        for source in sources:
            try:
                return self._fetch(blob, source, on_bytes)
            except (NotFound, RemoteError) as error:
                failure = error
        raise failure

    def _fetch(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        reader = source.open_blob(blob)
        with (
            self.store.blobs.writer(blob.digest, size=blob.size) as writer,
            closing(reader.chunks()) as chunks,
        ):
            for chunk in chunks:
                self.cancel.check()
                writer.write(chunk)
                if writer.size < blob.size:  # all of it is told of once it is verified
                    on_bytes(writer.size)
        on_bytes(blob.size)


def remember(store: Store, sources: Mapping[Digest, Iterable[str]]) -> None:
    """Note where layers are that may not be in the store, for them to be mounted or fetched by later pushes."""
    known: dict[Reference, list[Digest]] = {}
    for digest, places in sources.items():
        for place in places:
            if is_at_registry(place):
                known.setdefault(parse_reference(place), []).append(digest)
    for reference, digests in known.items():
        store.layers.add_sources(reference.domain, reference.path, digests)


@frozen
class StorePlace:
    """The local store. `sources` are where layers are known to be, beside what the store remembers.

    `kind` says whether names that are set here are kept, or those of images that a registry has as well.
    """

    fetcher: Fetcher
    sources: Mapping[Digest, Sequence[str]] = field(default_factory=dict)
    kind: RefKind = RefKind.IMAGE
    called: str = "the local store"

    @property
    def store(self) -> Store:
        """The store."""
        return self.fetcher.store

    @property
    def name(self) -> str:
        """What the place is called."""
        return self.called

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, IntegrityError."""
        return self.store.blobs.read(descriptor.digest)

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read, which is fetched first if it isn't here. Raises as `Fetcher.ensure`."""
        self.fetcher.ensure(blob, self._known(blob.digest))
        return BlobReader(
            chunks=lambda: self._chunks(blob.digest),
            file=lambda: self.store.blobs.open(blob.digest),
        )

    def ensure_sound(self, blob: Descriptor) -> None:
        """Have a blob here with the right bytes: one that the disk has spoilt is fetched anew. Raises as `Fetcher.ensure`."""
        blobs = self.store.blobs
        if blobs.is_sound(blob.digest):
            self.open_blob(blob)
            return
        blobs.remove(blob.digest)
        try:
            self.open_blob(blob)
        except NotFound as error:
            raise IntegrityError(
                f"the blob {blob.digest} in the store was damaged, and nobody is known to have it",
                hint="build or pull the image again",
            ) from error

    def _chunks(self, digest: Digest) -> Generator[bytes, None, None]:
        with self.store.blobs.open(digest) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def _known(self, digest: Digest) -> Iterator[str]:
        """Give where a blob is known to be: references and addresses of layouts."""
        yield from self.sources.get(digest, ())
        for host, repository in self.store.layers.all_sources(digest):
            yield f"{host}/{repository}"

    def origins(self, digest: Digest) -> Iterable[str]:
        """Give the repositories that are known to have a blob: those of `sources`, then the latest first."""
        for source in self._known(digest):
            if is_at_registry(source):
                yield parse_reference(source).repository

    def referrers(self, _subject: Digest) -> tuple[Descriptor, ...]:
        """Return nothing: only images are kept in the store."""
        return ()

    def is_whole(self, _digest: Digest) -> bool:
        """Return False: the store may have manifests without what they need."""
        return False

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Fetch a blob unless it is here. Raises as `Fetcher.ensure`."""
        if is_config(blob.media_type):
            check_document(blob)
        self.fetcher.take(blob, source, on_bytes)

    def put_manifest(self, descriptor: Descriptor, data: bytes, _subject: Digest | None) -> None:
        """Keep a manifest or index. Raises StoreError."""
        self.store.blobs.put(data, descriptor.digest)

    def tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Let a name stand for a manifest or index; names of the store are whole ones. Raises StoreError."""
        self.put_manifest(descriptor, data, None)
        if tag:
            self.store.refs.set(tag, compact(descriptor.to_json()).decode(), self.kind)


@frozen
class StoreAsItIs:
    """The local store, to be looked at: a damaged blob is told of, where `StorePlace` drops it and fetches it anew."""

    place: StorePlace

    @property
    def name(self) -> str:
        """The name of the place."""
        return self.place.name

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, IntegrityError."""
        return self.place.manifest(descriptor)

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read, which is fetched if it isn't here. Raises IntegrityError if it has another size."""
        found = self.place.store.blobs.find_size(blob.digest)
        if found not in {None, blob.size}:
            raise IntegrityError(f"{blob.size} bytes are claimed, and the store has {found}")
        return self.place.open_blob(blob)

    def origins(self, digest: Digest) -> Iterable[str]:
        """Give what the place gives."""
        return self.place.origins(digest)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return nothing, as the place does."""
        return self.place.referrers(subject)


@frozen
class KeptDocuments:
    """A place whose manifests and configs are kept in the store, and read there if they are known."""

    place: Source
    blobs: Blobs

    @property
    def name(self) -> str:
        """The name of the place."""
        return self.place.name

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises what the place raises, StoreError."""
        return self._kept(descriptor, lambda: self.place.manifest(descriptor))

    def config(self, descriptor: Descriptor) -> bytes:
        """Return a config. Raises what the place raises, StoreError."""
        return self._kept(descriptor, lambda: read_blob(self.place, descriptor))

    def _kept(self, descriptor: Descriptor, fetch: Callable[[], bytes]) -> bytes:
        if self.blobs.has(descriptor.digest, size=descriptor.size or None):
            return self.blobs.read(descriptor.digest)
        data = fetch()
        self.blobs.put(data, descriptor.digest)
        return data

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob of the place to be read."""
        return self.place.open_blob(blob)

    def origins(self, digest: Digest) -> Iterable[str]:
        """Give what the place gives."""
        return self.place.origins(digest)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the place's manifests that are about another one."""
        return self.place.referrers(subject)
