"""Layers of results on their way to a place of a cache: as blobs, and large ones in pieces."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from polyarch.caches.form import CachedLayer
from polyarch.digest import Digest, sha256
from polyarch.exporter.counting import CountingSink
from polyarch.exporter.layers import CompressionChoice, ExportedLayer, LayerBlobs
from polyarch.images.pieces import compression_of, tag_of
from polyarch.images.piecewriter import put_pieces
from polyarch.images.place import Place
from polyarch.images.store_place import StorePlace
from polyarch.layer import changes
from polyarch.layer.tar import Sink
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, cancellable
from polyarch.record import replace
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.store.trees import tree_size
from polyarch.store.trouble import tree_trouble

__all__ = ["LayerPush"]

_LARGE = 4 << 20
"""Bytes of a layer's files from which on it goes in pieces."""


class LayerPush:
    """Brings layers to a place, each once; used from several threads.

    With `needs_blobs` layers are compressed as images have them, since the build makes some; without, large ones are only
    if that was done before. `hints` are the digests of the ops that made snapshots: the last layer of the same op is likely to have much in
    common with one. `on_bytes` is told of bytes that were sent.
    """

    def __init__(
        self,
        layers: LayerBlobs,
        snapshotter: Snapshotter,
        source: StorePlace,
        target: Place,
        choice: CompressionChoice,
        *,
        needs_blobs: bool,
    ) -> None:
        self.hints: dict[SnapshotID, str] = {}
        self._layers = layers
        self._snapshotter = snapshotter
        self._source = source
        self._target = target
        self._choice = choice
        self._needs_blobs = needs_blobs
        self.on_progress: Callable[[], None] = lambda: None
        self.on_bytes: Callable[[int], None] = lambda _size: None
        self._lock = threading.Lock()
        self._locks: dict[SnapshotID, threading.Lock] = {}
        self._pushed: dict[SnapshotID, CachedLayer] = {}

    @property
    def _cancel(self) -> CancelToken:
        return self._source.fetcher.cancel

    def push(self, stack: LayerStack) -> tuple[CachedLayer, ...] | None:
        """Bring the layers of a result, None if one isn't here any more. Raises RemoteError, StoreError, Cancelled."""
        own = (layer.snapshot for layer in stack.layers if layer.blob is None)
        if not all(map(self._snapshotter.exists, own)):
            return None
        return tuple(self._layer(stack, number) for number in range(len(stack.layers)))

    def _layer(self, stack: LayerStack, number: int) -> CachedLayer:
        layer = stack.layers[number]
        with self._lock:
            lock = self._locks.setdefault(layer.snapshot, threading.Lock())
        with lock:
            if layer.snapshot not in self._pushed:
                self._pushed[layer.snapshot] = self._push(stack, number)
            return replace(self._pushed[layer.snapshot], is_linked=layer.is_linked)

    def _push(self, stack: LayerStack, number: int) -> CachedLayer:
        self._cancel.check()
        if stack.layers[number].blob is None and not self._needs_blobs:
            found = self._layers.find(stack, number, self._choice)
            if found is None and self._is_large(stack.layers[number].snapshot):
                return self._push_pieces(stack, number, None)
        layers = replace(self._layers, counted=self._counted, fetch=self._source.fetcher.ensure)
        made = layers.layer(stack, number, self._choice, self._cancel)
        if made.created is None:
            return CachedLayer(blob=made.descriptor, diff_id=made.diff_id, sources=made.sources)
        if self._is_large(stack.layers[number].snapshot):
            return self._push_pieces(stack, number, made)
        if not self._target.holds(made.descriptor):
            source = replace(self._source, sources={made.descriptor.digest: made.sources})
            self._target.take_blob(made.descriptor, source, lambda _bytes: None)
            self.on_bytes(made.descriptor.size)
        return _cached(made)

    def _is_large(self, snapshot: SnapshotID) -> bool:
        if not self._snapshotter.exists(snapshot):
            return False
        with self._snapshotter.layer(snapshot) as upper:
            return tree_size(upper) >= _LARGE

    @contextmanager
    def _counted(self, _part: str, _total: Callable[[], int]) -> Iterator[Callable[[int], None]]:
        yield lambda _size: self.on_progress()

    def _push_pieces(
        self, stack: LayerStack, number: int, made: ExportedLayer | None
    ) -> CachedLayer:
        snapshot = stack.layers[number].snapshot
        is_linked = stack.layers[number].is_linked
        first = number if is_linked else 0
        below = stack.snapshots[first:number]
        lowers = [path for each in below for path in self._snapshotter.shapes(each)]
        with (
            cancellable(self._cancel),
            self._snapshotter.layer(snapshot) as upper,
            tree_trouble(),
        ):

            def produce(sink: Sink) -> None:
                counted = CountingSink(sink, lambda _size: self.on_progress())
                changes.write_layer(
                    upper,
                    lowers,
                    counted,
                    open_lower=self._snapshotter.open_file,
                    is_linked=is_linked,
                )

            known = self._source.store.snapshots.find(snapshot)
            listed = put_pieces(
                self._target,
                [] if made is None else [tag_of("layer", made.descriptor.digest)],
                produce,
                size=tree_size(upper),
                hint=tag_of("last", self.hints.get(snapshot, sha256(snapshot.encode()))),
                on_bytes=self.on_bytes,
                diff_id=known.diff_id if known else None,
            )
        if made is not None:
            kind = made.descriptor.media_type
            return replace(_cached(made), archive=listed.size, compression=compression_of(kind))
        snapshots = self._source.store.snapshots
        snapshots.set_diff_id(snapshot, listed.diff_id)
        record = snapshots.find(snapshot)
        archive = Descriptor(
            media_type=media.OCI_LAYER, digest=Digest(listed.diff_id), size=listed.size
        )
        return CachedLayer(
            blob=archive,
            diff_id=listed.diff_id,
            created=record.created if record else 0.0,
            description=record.description if record else "",
            archive=listed.size,
            compression=compression_of(archive.media_type),
        )


def _cached(made: ExportedLayer) -> CachedLayer:
    return CachedLayer(
        blob=made.descriptor,
        diff_id=made.diff_id,
        created=made.created,
        description=made.description,
    )
