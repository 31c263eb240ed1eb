"""Layers of results on their way to a place of a cache: as blobs, and large ones in pieces."""

from __future__ import annotations

import threading
from collections.abc import Callable

from polyarch.caches.form import CachedLayer
from polyarch.exporter.layers import CompressionChoice, LayerBlobs
from polyarch.images.pieces import compression_of, put_pieces, tag_of
from polyarch.images.place import Place
from polyarch.images.store_place import StorePlace
from polyarch.layer import changes
from polyarch.layer.tar import Sink
from polyarch.progress import CancelToken, cancellable
from polyarch.record import replace
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.store.trees import tree_size
from polyarch.store.trouble import tree_trouble

__all__ = ["LayerPush"]

_LARGE = 4 << 20
"""Bytes of a blob from which on a layer goes in pieces."""


class LayerPush:
    """Brings layers to a place, each once; used from several threads.

    `hints` are the digests of the ops that made snapshots: the last layer of the same op is likely to have much in
    common with one. `on_bytes` is told of bytes that were sent.
    """

    def __init__(
        self,
        layers: LayerBlobs,
        snapshotter: Snapshotter,
        source: StorePlace,
        target: Place,
        choice: CompressionChoice,
    ) -> None:
        self.hints: dict[SnapshotID, str] = {}
        self._layers = layers
        self._snapshotter = snapshotter
        self._source = source
        self._target = target
        self._choice = choice
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
        made = self._layers.layer(stack, number, self._choice, self._cancel)
        layer = CachedLayer(
            blob=made.descriptor,
            diff_id=made.diff_id,
            created=made.created,
            description=made.description,
            sources=made.sources if made.created is None else (),
        )
        if layer.created is None:
            return layer
        if made.descriptor.size >= _LARGE and self._snapshotter.exists(
            stack.layers[number].snapshot
        ):
            return self._push_pieces(layer, stack, number)
        if not self._target.holds(made.descriptor):
            source = replace(self._source, sources={made.descriptor.digest: made.sources})
            self._target.take_blob(made.descriptor, source, lambda _bytes: None)
            self.on_bytes(made.descriptor.size)
        return layer

    def _push_pieces(self, layer: CachedLayer, stack: LayerStack, number: int) -> CachedLayer:
        snapshot = stack.layers[number].snapshot
        first = number if stack.layers[number].is_linked else 0
        lowers = [
            path for each in stack.snapshots[first:number] for path in self._snapshotter.paths(each)
        ]
        with (
            cancellable(self._cancel),
            self._snapshotter.layer(snapshot) as upper,
            tree_trouble(),
        ):

            def produce(sink: Sink) -> None:
                changes.write_layer(upper, lowers, sink)

            listed = put_pieces(
                self._target,
                [tag_of("layer", layer.blob.digest)],
                produce,
                size=tree_size(upper),
                hint=tag_of("last", self.hints.get(snapshot, layer.diff_id)),
                on_bytes=self.on_bytes,
            )
        return replace(
            layer, archive=listed.size, compression=compression_of(layer.blob.media_type)
        )
