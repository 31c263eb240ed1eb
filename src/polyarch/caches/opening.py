"""From what a request says of caches to a session that asks and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.caches.importing import Imported, import_caches
from polyarch.caches.layerpush import LayerPush
from polyarch.caches.mounts import KeptAt, MountLimits, SavedMounts
from polyarch.caches.places import CachePlaces, shown
from polyarch.caches.pushing import Pusher
from polyarch.caches.session import LOOKUP_BUDGET, CacheSession, StepAddress, diff_ids_of
from polyarch.caches.stepreader import StepReader
from polyarch.caches.steps import StepCache
from polyarch.caches.stepstore import StepStore
from polyarch.digest import sha256
from polyarch.errors import Cancelled, PolyarchError
from polyarch.exporter.layers import CompressionChoice, LayerBlobs
from polyarch.exporter.outputs import IMAGE_TYPES
from polyarch.golang.strconv import find_bool
from polyarch.graph.graph import Graph
from polyarch.http.retry import Pause, pause_unless_cancelled
from polyarch.images.place import Place
from polyarch.images.places import Places
from polyarch.images.store_place import Fetcher, StorePlace
from polyarch.progress import CancelToken, Step, ignore_events, step
from polyarch.registry.client import Client
from polyarch.request.caches import CACHES, CacheKind, read_mounts
from polyarch.request.values import BuildRequest, CacheEntry
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.source_image import ImageSource
from polyarch.worker.worker import content_inputs

__all__ = ["open_session", "places_of", "save_mounts"]

_MOMENT = 0.1


def places_of(images: ImageSource, cancel: CancelToken) -> CachePlaces:
    """Return where caches are."""
    return _places(images, cancel, pause_unless_cancelled)


def _places(images: ImageSource, cancel: CancelToken, pause: Pause) -> CachePlaces:
    return CachePlaces(
        places=Places(Client(images.transport, cancel, pause=pause), images.caches),
        others=images.caches,
        sender=images.transport.sender,
        cancel=cancel,
    )


def _impatient(seconds: float, cancel: CancelToken) -> None:
    """Try again soon: a step waits for the answer, and can do without."""
    pause_unless_cancelled(min(seconds, _MOMENT), cancel)


def open_session(
    layers: LayerBlobs,
    images: ImageSource,
    request: BuildRequest,
    graph: Graph,
    cancel: CancelToken,
) -> CacheSession:
    """Read the caches that are read as a whole, and begin with those of single steps.

    Raises Cancelled, InputError for what can't be the name of a cache.
    """
    opening = _Opening(layers, images, request, cancel)
    imported = opening.imported()
    if imported is not None:
        images.elsewhere.update(imported.blobs)
    places: dict[str, Mapping[int, tuple[str, ...]]] = dict(imported.places) if imported else {}
    addresses = opening.addresses(places)
    cache = (
        StepCache(
            graph,
            [each.reader for each in addresses if each.reader],
            [each.pusher for each in addresses if each.pusher],
            content_inputs,
            places,
            is_anew=request.no_cache,
        )
        if addresses
        else None
    )
    diff_ids = diff_ids_of(images.store.snapshots)
    return CacheSession(imported, addresses, cache, opening.kept_mounts(), diff_ids, places)


class _Opening:
    def __init__(
        self, layers: LayerBlobs, images: ImageSource, request: BuildRequest, cancel: CancelToken
    ) -> None:
        self._layers = layers
        self._images = images
        self._request = request
        self._cancel = cancel

    def imported(self) -> Imported | None:
        entries = [entry for entry in self._request.cache_from if entry.type in CACHES]
        if not entries or self._request.no_cache:
            return None
        return import_caches(entries, places_of(self._images, self._cancel), self._images.sink)

    def addresses(self, places: Mapping[str, Mapping[int, Sequence[str]]]) -> list[StepAddress]:
        """Return the addresses of single steps, each once."""
        read = {
            shown(each): each for each in self._request.cache_from if each.type == CacheKind.STEPS
        }
        written = {
            shown(each): each for each in self._request.cache_to if each.type == CacheKind.STEPS
        }
        return [
            self._address(name, read.get(name), written.get(name), places)
            for name in dict.fromkeys((*read, *written))
        ]

    def _address(
        self,
        name: str,
        read: CacheEntry | None,
        written: CacheEntry | None,
        places: Mapping[str, Mapping[int, Sequence[str]]],
    ) -> StepAddress:
        token = CancelToken()
        self._cancel.on_cancel(token.cancel)
        budget = self._request.cache_budget
        seconds = LOOKUP_BUDGET if budget is None else budget
        reader = None
        if read is not None and not self._request.no_cache:
            store = self._store(read, token, _impatient)
            reader = StepReader(store, self._cancel, seconds)
        return StepAddress(
            shown=name,
            token=token,
            reader=reader,
            pusher=self._pusher(written, token, places) if written else None,
            is_needed=written is not None
            and find_bool(written.attributes.get("ignore-error", "true")) is False,
        )

    def _store(self, entry: CacheEntry, token: CancelToken, pause: Pause) -> StepStore:
        source, place, _ = _places(self._images, token, pause).to_read(entry)
        return StepStore(place=place, source=source)

    def _pusher(
        self,
        entry: CacheEntry,
        token: CancelToken,
        places: Mapping[str, Mapping[int, Sequence[str]]],
    ) -> Pusher:
        images = self._images
        store = self._store(entry, token, pause_unless_cancelled)
        fetcher = Fetcher(
            store=images.store,
            places=_places(images, token, pause_unless_cancelled).places,
            cancel=token,
            shown=Step(ignore_events, "", sha256(b"")),
        )
        push = LayerPush(
            self._layers,
            images.snapshotter,
            StorePlace(fetcher=fetcher),
            store.place,
            CompressionChoice.of(entry.attributes),
            needs_blobs=any(each.type in IMAGE_TYPES for each in self._request.outputs),
        )

        def find_places(stack: LayerStack) -> Mapping[int, Sequence[str]]:
            if not stack.layers:
                return {}
            top = stack.snapshots[-1]
            return images.store.copies.find_places(top) or places.get(top, {})

        return Pusher(store, push, find_places, token)

    def kept_mounts(self) -> KeptAt | None:
        """Return the caches that mounts are read from: those of single steps have all, unless told otherwise."""
        found: list[tuple[Place, MountLimits]] = []
        for entry in self._request.cache_from:
            limits = read_mounts(entry, "all" if entry.type == CacheKind.STEPS else "")
            if (
                limits
                and not self._request.no_cache
                and (entry.type in CACHES or entry.type == CacheKind.STEPS)
            ):
                place = _places(self._images, self._cancel, _impatient).to_read(entry)[1]
                found.append((place, MountLimits(limits=limits)))
        is_written = any(map(read_mounts, self._request.cache_to))
        if not found and not is_written:
            return None
        return KeptAt(places=found, sink=self._images.sink, cancel=self._cancel)


def save_mounts(
    layers: LayerBlobs,
    images: ImageSource,
    request: BuildRequest,
    used: Mapping[str, SnapshotID],
    cancel: CancelToken,
) -> None:
    """Write cache mounts that were used to the caches that are to have them. Raises Cancelled, and what `ignore-error=false` lets through."""
    for entry in request.cache_to:
        limits = read_mounts(entry)
        if not limits:
            continue
        saved = SavedMounts(
            store=images.store,
            snapshotter=layers.snapshotter,
            place=places_of(images, cancel).to_write(entry)[0],
            limits=MountLimits(limits=limits),
            cancel=cancel,
        )
        try:
            with step(images.sink, f"exporting cache mounts to {shown(entry)}") as told:
                saved.save(used, told)
        except Cancelled:
            raise
        except PolyarchError:
            if find_bool(entry.attributes.get("ignore-error", "true")) is False:
                raise
