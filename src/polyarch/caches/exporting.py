"""Caches on their way out: to a registry, a directory, or into the config of the image itself."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from polyarch.caches.form import CONFIG, INLINE, Cache, CachedLayer, write_cache
from polyarch.caches.gather import gather
from polyarch.caches.places import CachePlaces
from polyarch.digest import Digest, sha256
from polyarch.errors import Cancelled, PolyarchError
from polyarch.exporter.layers import CompressionChoice, LayerBlobs
from polyarch.golang.json import indented
from polyarch.golang.strconv import find_bool
from polyarch.images.store_place import Fetcher, StorePlace
from polyarch.images.transfer import Watch, bring
from polyarch.oci import media
from polyarch.oci.config import ImageConfig
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, Sink, Step, ignore_events, step
from polyarch.record import frozen, replace
from polyarch.request.caches import OBJECTS, CacheKind, is_manifest, is_oci
from polyarch.request.values import CacheEntry
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.facts import Facts
from polyarch.store.store import Store

__all__ = ["CacheExporter"]

_STEPS: Mapping[str, str] = {
    CacheKind.REGISTRY: "exporting cache to registry",
    CacheKind.LOCAL: "exporting cache to client directory",
    CacheKind.GHA: "exporting cache to GitHub Actions Cache",
    CacheKind.S3: "exporting cache to Amazon S3",
    CacheKind.AZBLOB: "exporting cache to Azure Blob Storage",
}


@frozen
class CacheExporter:
    """Writes what a solve found out as a cache.

    `targets` are the results that were asked for; `imported_places` as in `Imported`. `is_in_reach` tells whether the
    layers of a result can be had that came with another cache.
    """

    store: Store
    snapshotter: Snapshotter
    layers: LayerBlobs
    places: CachePlaces
    targets: Sequence[LayerStack]
    imported_places: Mapping[str, Mapping[int, Sequence[str]]]
    sink: Sink
    cancel: CancelToken
    is_in_reach: Callable[[LayerStack], bool]

    def with_inline(
        self,
        config: ImageConfig,
        facts: Iterable[Facts],
        choice: CompressionChoice,
        latest: float | None,
    ) -> ImageConfig:
        """Return the config of an image with a cache in it, of the layers that the image has.

        `latest`, in seconds since the epoch, is the latest time that they may have.
        """
        wanted = _snapshots(self.targets)
        # They are here: the image has them.
        layers = self._fetching(Step(ignore_events, "", sha256(b"")))
        finder = _Layers(layers, self.snapshotter, choice, self.cancel, wanted, latest)
        cache = gather(facts, finder.find, self.find_places)
        coded = base64.b64encode(write_cache(cache)).decode("ascii")
        return replace(config, rest={**config.rest, INLINE: coded})

    def run(self, entry: CacheEntry, facts: Iterable[Facts]) -> None:
        """Write one cache. What goes wrong is said in its step, and ends the build only if it was told to.

        Raises Cancelled; with the attribute `ignore-error=false` whatever else went wrong.
        """
        try:
            with step(self.sink, _STEPS[entry.type]) as shown:
                with shown.part("preparing build cache for export"):
                    choice = CompressionChoice.of(entry.attributes)
                    is_max = entry.attributes.get("mode") == "max"
                    wanted = None if is_max else _snapshots(self.targets)
                    layers = self._fetching(shown)
                    finder = _Layers(layers, self.snapshotter, choice, self.cancel, wanted)
                    finder.is_in_reach = self.is_in_reach
                    cache = gather(facts, finder.find, self.find_places)
                self._write(entry, cache, finder.sources, shown)
        except Cancelled:
            raise
        except PolyarchError:
            if find_bool(entry.attributes.get("ignore-error", "true")) is False:
                raise

    def find_places(self, stack: LayerStack) -> Mapping[int, Sequence[str]]:
        """Return where large files of other stages are in the topmost layer of a result, by input."""
        if not stack.layers:
            return {}
        top = stack.snapshots[-1]
        return self.store.copies.find_places(top) or self.imported_places.get(top, {})

    def _write(
        self,
        entry: CacheEntry,
        cache: Cache,
        sources: Mapping[Digest, Sequence[str]],
        shown: Step,
    ) -> None:
        data = write_cache(cache)
        config = Descriptor(media_type=CONFIG, digest=sha256(data), size=len(data))
        manifest = _manifest(entry, config, cache.blobs)
        for each in (data, manifest[1]):
            self.store.blobs.put(each, sha256(each))
        source = StorePlace(fetcher=self._fetcher(shown), sources=sources)
        target, tag = self.places.to_write(entry)
        watch = Watch(blob=partial(_show, shown, time.time()), cancel=self.cancel)
        if entry.type in OBJECTS:
            bring(cache.blobs, source, target, watch)
            self.cancel.check()
            target.tag(tag, config, data)
            return
        bring((*cache.blobs, config), source, target, watch)
        self.cancel.check()
        with shown.part(f"writing cache image manifest {manifest[0].digest}"):
            target.tag(tag, *manifest)

    def _fetching(self, shown: Step) -> LayerBlobs:
        return replace(self.layers, fetch=self._fetcher(shown).ensure)

    def _fetcher(self, shown: Step) -> Fetcher:
        return Fetcher(store=self.store, places=self.places.places, cancel=self.cancel, shown=shown)


def _show(shown: Step, started: float, blob: Descriptor, current: int) -> None:
    kind = "config" if blob.media_type == CONFIG else "layer"
    is_done = current == blob.size
    name = f"writing {kind} {blob.digest}"
    shown.status(name, current, blob.size, started=started, is_done=is_done)


class _Layers:
    """Finds, and makes where need be, the layers of results for a cache.

    `wanted` are the snapshots whose layers are to be in it, None for all.
    """

    def __init__(
        self,
        layers: LayerBlobs,
        snapshotter: Snapshotter,
        choice: CompressionChoice,
        cancel: CancelToken,
        wanted: frozenset[SnapshotID] | None,
        latest: float | None = None,
    ) -> None:
        self._layers = layers
        self._snapshotter = snapshotter
        self._choice = choice
        self._cancel = cancel
        self._wanted = wanted
        self._latest = latest
        self.is_in_reach: Callable[[LayerStack], bool] = lambda _stack: True
        self.sources: dict[Digest, tuple[str, ...]] = {}
        """Where the layers are that came with images and caches."""

    def find(self, stack: LayerStack) -> tuple[CachedLayer, ...] | None:
        """Return the layers of a result; None if it is not to be in the cache, or not here any more."""
        if self._wanted is not None and not self._wanted.issuperset(stack.snapshots):
            return None
        own = (layer.snapshot for layer in stack.layers if layer.blob is None)
        if not all(map(self._snapshotter.exists, own)) or not self.is_in_reach(stack):
            return None
        return tuple(self._layer(stack, number) for number in range(len(stack.layers)))

    def _layer(self, stack: LayerStack, number: int) -> CachedLayer:
        made = self._layers.layer(stack, number, self._choice, self._cancel)
        if made.sources:
            self.sources[made.descriptor.digest] = made.sources
        return CachedLayer(
            blob=made.descriptor,
            diff_id=made.diff_id,
            created=made.created
            if made.created is None or self._latest is None
            else min(made.created, self._latest),
            description=made.description,
            sources=made.sources if made.created is None else (),
            is_linked=stack.layers[number].is_linked,
        )


def _snapshots(stacks: Iterable[LayerStack]) -> frozenset[SnapshotID]:
    return frozenset(name for each in stacks for name in each.snapshots)


def _manifest(
    entry: CacheEntry, config: Descriptor, layers: Sequence[Descriptor]
) -> tuple[Descriptor, bytes]:
    """Return the document that a cache is found by: a manifest, or the index that BuildKit once wrote."""
    if not is_manifest(entry):
        kind = media.OCI_INDEX
        if not is_oci(entry):
            kind = media.DOCKER_INDEX
            layers = [
                replace(each, media_type=media.docker_type(each.media_type)) for each in layers
            ]
        fields: dict[str, object] = {"manifests": [each.to_json() for each in (*layers, config)]}
    else:
        kind = media.OCI_MANIFEST
        fields = {"config": config.to_json(), "layers": [each.to_json() for each in layers]}
    data = indented({"schemaVersion": 2, "mediaType": kind, **fields})
    return Descriptor(media_type=kind, digest=sha256(data), size=len(data)), data
