"""Images as sources: names resolved to manifests and configs, layers fetched when they are read.

Documents are kept in the store by digest, so a name that still stands for the same digest costs one
request; layers are fetched and unpacked side by side, each once for all processes of the store.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.digest import DiffID, Digest
from polyarch.errors import (
    Cancelled,
    IntegrityError,
    OutOfReach,
    PolyarchError,
    RemoteError,
    about_blob,
)
from polyarch.graph.op import ImageOp
from polyarch.graph.vertex import Vertex
from polyarch.images.known import missing_image
from polyarch.images.place import Place
from polyarch.images.places import Places
from polyarch.images.store_place import Fetcher
from polyarch.oci.base import PIECES, is_at_registry
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink, Step, cancellable
from polyarch.record import field, frozen, replace
from polyarch.registry.client import Client
from polyarch.registry.transport import Transport
from polyarch.snapshot.snapshotter import Snapshotter
from polyarch.snapshot.stack import LayerRef, LayerStack
from polyarch.store.layers import LayerBlob
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.threads import side_by_side
from polyarch.worker.image_resolver import ImageResolver
from polyarch.worker.pace import Pace
from polyarch.worker.reach import Reach

if TYPE_CHECKING:
    from polyarch.layer.tarread import Source as TarSource

__all__ = ["ImageSource"]

_FETCHES_AT_ONCE = 4
"""Of one image."""
_FETCHES_IN_ALL = 16


def _unpacking() -> AbstractContextManager[object]:
    """Return what lets half as many threads unpack as there are processors, two where there are two.

    Unpacking is thousands of short system calls, each of which hands Python's lock to another thread
    and waits to get it back: more threads than that aren't quicker. Each has another thread beside it
    that decompresses.
    """
    processors = len(os.sched_getaffinity(0))
    return threading.Semaphore(min(processors, max(2, processors // 2)))


@frozen
class ImageSource:
    """Images of registries and of the local store, as stacks of layers."""

    store: Store
    snapshotter: Snapshotter
    transport: Transport
    sink: Sink
    unpacking: AbstractContextManager[object] = field(default_factory=_unpacking, compare=False)
    fetching: AbstractContextManager[object] = field(
        default_factory=lambda: threading.Semaphore(_FETCHES_IN_ALL), compare=False
    )
    caches: dict[str, Place] = field(default_factory=dict, compare=False, repr=False)
    """Places of caches that are neither registries nor layouts, by the names that their layers remember."""
    elsewhere: dict[Digest, str] = field(default_factory=dict, compare=False, repr=False)
    """Where else blobs are, beside where their images have them: in caches of other builders."""
    reach: Reach = field(default_factory=Reach, compare=False, repr=False)

    pace: Pace = field(default_factory=Pace, compare=False)

    def is_unpacked(self, stack: LayerStack) -> bool:
        """Return whether the snapshots of all layers that came with images are here."""
        return not self._missing(stack)

    def is_in_reach(self, stack: LayerStack, cancel: CancelToken) -> bool:
        """Return whether the layers that came with caches are here, or where the caches said they are.

        A cache may have lost them, which is no reason for a build to fail. Raises Cancelled.
        """
        cached = [each for each in stack.layers if each.is_cached]
        missing = {each.snapshot for each in self._missing(stack)}
        return all(
            self.reach.has(each, partial(self._reaches, each, cancel))
            if each.snapshot in missing
            else self.reach.has(each, lambda: True)
            for each in cached
        )

    def _reaches(self, layer: LayerRef, cancel: CancelToken) -> bool:
        assert layer.blob is not None
        return self.store.blobs.has(layer.blob.digest, size=layer.blob.size) or any(
            self._holds(source, layer.blob, cancel)
            for source in layer.sources
            if source not in self.reach.gone
        )

    def _holds(self, source: str, blob: Descriptor, cancel: CancelToken) -> bool:
        try:
            return self.places(cancel).at(source).holds(blob)
        except Cancelled:
            raise
        except RemoteError:
            self.reach.gone.add(source)
            return False
        except PolyarchError:
            return False

    def _missing(self, stack: LayerStack) -> list[LayerRef]:
        by_snapshot = {layer.snapshot: layer for layer in stack.layers if layer.blob is not None}
        return [
            layer for layer in by_snapshot.values() if not self.snapshotter.exists(layer.snapshot)
        ]

    def ensure_unpacked(self, stack: LayerStack, vertex: Vertex, cancel: CancelToken) -> None:
        """Fetch and unpack the missing layers of images, shown under `vertex`.

        Raises RegistryError, IntegrityError, StoreError.
        """
        missing = self._missing(stack)
        if not missing:
            return
        started = time.monotonic()
        tasks = [partial(self._unpack, layer, vertex, cancel) for layer in missing]
        side_by_side(tasks, _FETCHES_AT_ONCE, name="unpack")
        self.pace.note(_size(missing), time.monotonic() - started)

    def missing_bytes(self, stack: LayerStack) -> int:
        """Return the bytes of the layers that `ensure_unpacked` would have to fetch, as they come."""
        return _size(self._missing(stack))

    def _unpack(self, layer: LayerRef, vertex: Vertex, cancel: CancelToken) -> None:
        assert layer.blob is not None
        name = f"unpack-{layer.snapshot}"
        with self.store.locks.exclusive(name, check=cancel.check), about_blob(layer.blob.digest):
            if self.snapshotter.exists(layer.snapshot):
                return
            pieces = self._pieces(layer, cancel)
            if pieces is None:
                self._fetch(layer, vertex, cancel)
            try:
                self._extract(layer, vertex, cancel, pieces)
            except IntegrityError:
                if pieces is not None or not self._drop_damaged(layer):
                    raise
                self._fetch(layer, vertex, cancel)
                self._extract(layer, vertex, cancel, None)

    def _drop_damaged(self, layer: LayerRef) -> bool:
        """Remove the blob of a layer if the disk has spoilt it; tells whether it has.

        It was verified when it came, so it isn't read again unless it can't be unpacked.
        """
        assert layer.blob is not None
        digest = layer.blob.digest
        if self.store.blobs.is_sound(digest):
            return False
        self.store.blobs.remove(digest)
        return True

    def _pieces(self, layer: LayerRef, cancel: CancelToken) -> Place | None:
        """Return the place where a layer lies in pieces, if that is where it has to come from."""
        assert layer.blob is not None
        sources = [each for each in layer.sources if each.startswith(PIECES)]
        if not sources or self.store.blobs.has(layer.blob.digest, size=layer.blob.size):
            return None
        return self.places(cancel).at(sources[0])

    def places(self, cancel: CancelToken) -> Places:
        """Return where images are."""
        return Places(Client(self.transport, cancel), self.caches)

    def _fetch(self, layer: LayerRef, vertex: Vertex, cancel: CancelToken) -> None:
        fetcher = Fetcher(
            store=self.store,
            places=self.places(cancel),
            cancel=cancel,
            shown=Step(self.sink, vertex.name, vertex.digest),
            bound=self.fetching,
        )
        assert layer.blob is not None
        try:
            fetcher.ensure(layer.blob, self._sources(layer.blob.digest, layer.sources))
        except OutOfReach as error:
            if not self.transport.is_offline:
                raise
            image = layer.sources[0] if layer.sources else "an image"
            raise missing_image(f"the layer {layer.blob.digest} of {image}", image) from error

    def _sources(self, digest: Digest, named: Sequence[str]) -> list[str]:
        """Return where a layer may be, the likeliest first.

        An image of the local store has a name that needn't be at a registry, and layers of base images.
        """
        remembered = [f"{host}/{path}" for host, path in self.store.layers.all_sources(digest)]
        certain = [
            each
            for each in named
            if not is_at_registry(each) or parse_reference(each).repository in remembered
        ]
        last = [self.elsewhere[digest]] if digest in self.elsewhere else []
        return list(dict.fromkeys((*certain, *remembered, *named, *last)))

    def _extract(
        self, layer: LayerRef, vertex: Vertex, cancel: CancelToken, pieces: Place | None
    ) -> None:
        blob, diff_id = layer.blob, layer.diff_id
        assert blob is not None
        assert diff_id is not None
        shown = Step(self.sink, vertex.name, vertex.digest)
        # Imported by builds that unpack something: an unchanged one is done sooner.
        from polyarch.layer import apply  # noqa: PLC0415

        def fill(directory: Path) -> None:
            with (
                cancellable(cancel),
                self._archive(blob, pieces, diff_id) as tar,
            ):
                found = apply.apply(tar, directory)
            if found != diff_id:
                raise IntegrityError(
                    f"the layer {blob.digest} unpacks to {found}, but its image says {diff_id}",
                    hint="the image is damaged; pull it again or use another one",
                )
            cancel.check()

        source = layer.sources[0] if layer.sources else blob.digest
        record = SnapshotRecord(
            id=layer.snapshot, diff_id=diff_id, description=f"pulled from {source}"
        )
        with shown.part(f"extracting {blob.digest}"):
            with self.unpacking:
                self.snapshotter.unpack(layer.snapshot, fill, record)
            made_here = self.store.layers.find(blob.digest)
            if made_here is not None and made_here.diff_id == diff_id:
                return  # how it is compressed is known: else the next export would do it again
            self.store.layers.add(
                LayerBlob(
                    digest=blob.digest,
                    diff_id=diff_id,
                    media_type=blob.media_type,
                    size=blob.size,
                    compression="",
                )
            )

    @contextmanager
    def _archive(
        self, blob: Descriptor, pieces: Place | None, diff_id: DiffID
    ) -> Iterator[TarSource]:
        """Give the archive of a layer: of a blob that is here, or as it comes from where it lies in pieces."""
        from polyarch.layer import compress  # noqa: PLC0415 see _extract

        if pieces is None:
            with (
                self.store.blobs.open(blob.digest) as stream,
                compress.decompressed(stream) as tar,
            ):
                yield tar
            return
        from polyarch.layer.pipes import ReadAhead  # noqa: PLC0415 for large layers of caches

        archive = replace(blob, media_type=OCI_LAYER, digest=Digest(diff_id))
        with (
            closing(pieces.open_blob(archive).chunks()) as chunks,
            ReadAhead(chunks) as tar,
        ):
            yield tar

    def sibling(self, op: ImageOp, platform: Platform, cancel: CancelToken) -> ImageOp | None:
        """Return what the index that `op` was chosen from has for another platform: see ImageResolver."""
        return self.resolver(cancel, pull=False).sibling(op, platform)

    def resolver(self, cancel: CancelToken, *, pull: bool) -> ImageResolver:
        """Return what resolves names during one build; `pull` asks the registry in any case."""
        return ImageResolver(images=self, cancel=cancel, pull=pull)


def _size(layers: Iterable[LayerRef]) -> int:
    return sum(layer.blob.size for layer in layers if layer.blob is not None)
