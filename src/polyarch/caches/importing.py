"""From caches at registries, in directories and in images to records that the solver finds."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from polyarch.caches.background import Background
from polyarch.caches.form import CONFIG, INLINE, Cache, CachedLayer, CachedResult, read_cache
from polyarch.caches.places import CachePlaces, shown
from polyarch.digest import Digest
from polyarch.errors import Cancelled, IntegrityError, NotFound, PolyarchError, RemoteError
from polyarch.images.place import Place, read_blob
from polyarch.oci.base import PIECES
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import naming, read_document
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import OCI_LAYER, is_config, is_index
from polyarch.progress import CancelToken, Sink, Step, step
from polyarch.record import field, frozen
from polyarch.request.values import CacheEntry
from polyarch.snapshot.stack import LayerRef, LayerStack, snapshot_of_diff
from polyarch.solver.key import CacheKey
from polyarch.solver.records import Record

__all__ = ["Imported", "import_caches", "record_of"]

_LIMIT = 64 << 20
"""Bytes of a cache's document: some hundred thousand steps."""
_PATIENCE = 30.0
"""Seconds that a build waits for a cache to be read before it begins."""
_MOST_INDEXES = 8
_MOST_IMAGES = 64


@frozen
class Imported:
    """What was found.

    `places` are where large files of other stages are, by snapshot and input; `blobs` are the places of those that
    another builder has put into its cache: layers of base images are among them.
    """

    records: Mapping[CacheKey, Record]
    places: Mapping[str, Mapping[int, tuple[str, ...]]]
    blobs: Mapping[Digest, str] = field(default_factory=dict)


def import_caches(entries: Iterable[CacheEntry], places: CachePlaces, sink: Sink) -> Imported:
    """Read caches, each shown as a step; one that can't be read is said so there, and goes without.

    Of several that know the same step the first one counts. Raises Cancelled.
    """
    found = [each for entry in entries for each in _read(entry, places, sink)]
    found.reverse()
    return Imported(
        records={key: record for each in found for key, record in each.records.items()},
        places={snapshot: paths for each in found for snapshot, paths in each.places.items()},
        blobs={digest: source for each in found for digest, source in each.blobs.items()},
    )


def _read(entry: CacheEntry, places: CachePlaces, sink: Sink) -> list[Imported]:
    """Return the caches of one entry, none if it can't be read."""
    try:
        with step(sink, f"importing cache manifest from {shown(entry)}") as told:
            source, place, target = places.to_read(entry)
            found = _in_time(lambda: list(_caches(place, *place.load(target))), places.cancel)
            _tell_others(found, told)
            return [_imported(cache, source) for cache in found]
    except Cancelled:
        raise
    except PolyarchError:
        return []  # told of by the step; a cache only saves time


def _in_time(read: Callable[[], list[Cache]], cancel: CancelToken) -> list[Cache]:
    """Read a cache in a thread that is left alone where nobody answers. Raises RemoteError, Cancelled, and what reading raises."""
    background = Background(1)
    answer = background.submit(read)
    left = background.finish(_PATIENCE, _PATIENCE, cancel.check)
    background.stop()
    if left:
        raise RemoteError("it didn't answer in time")
    return answer.get() or []


def _tell_others(caches: Iterable[Cache], told: Step) -> None:
    """Say what of another builder's cache is of use: nobody else knows what its keys are made of."""
    others = [cache for cache in caches if cache.other_results or cache.other_blobs]
    if others:
        results = sum(cache.other_results for cache in others)
        blobs = len({digest for cache in others for digest in cache.other_blobs})
        told.remark(
            f"another builder's cache: {results} results with keys of its own, {blobs} layers, "
            "which are used where base images have them"
        )


def _imported(cache: Cache, source: str) -> Imported:
    """Return the records of a cache whose layers lie at `source`. Raises IntegrityError."""
    records: dict[CacheKey, Record] = {}
    places: dict[str, Mapping[int, tuple[str, ...]]] = {}
    for result in cache.results:
        record = record_of(result, source)
        records |= dict.fromkeys(map(CacheKey, result.keys), record)
        if result.layers and result.places:
            places[snapshot_of_diff(result.layers[-1].diff_id)] = result.places
    return Imported(records=records, places=places, blobs=dict.fromkeys(cache.other_blobs, source))


def _caches(place: Place, root: Descriptor, data: bytes, depth: int = 0) -> Iterator[Cache]:
    """Give the caches of a manifest or index: its own, or those that came with the images it names."""
    if depth > _MOST_INDEXES:
        raise IntegrityError("the cache is an index of indexes without end")
    if root.media_type == CONFIG:
        with naming("cache", data):
            yield read_cache(data)
        return
    if not is_index(root.media_type):
        config = parse_manifest(data).config
        yield from _config(place, config)
        return
    listed = parse_index(data).manifests[:_MOST_IMAGES]
    own = [each for each in listed if each.media_type == CONFIG]
    if own:
        yield from _config(place, own[-1])
        return
    for each in listed:
        if each.media_type and not each.annotations.get("vnd.docker.reference.type"):
            yield from _caches(place, each, place.manifest(each), depth + 1)


def _config(place: Place, config: Descriptor) -> Iterator[Cache]:
    if config.media_type == CONFIG:
        data = read_blob(place, config, _LIMIT)
        with naming("cache", data):
            yield read_cache(data)
    elif is_config(config.media_type):
        data = read_blob(place, config)
        with naming("config", data):
            yield from _inline(read_document(data).text(INLINE))
    else:
        raise NotFound(
            f"{config.media_type} at {place.name} is no cache",
            hint="caches are written by --cache-to",
        )


def _inline(text: str) -> Iterator[Cache]:
    if not text:
        raise NotFound(
            "the image has no cache with it", hint="build it with --cache-to type=inline"
        )
    try:
        data = base64.b64decode(text, validate=True)
        whole = json.loads(data)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise IntegrityError(f"{INLINE} can't be read: {error}") from error
    # BuildKit has a list of caches there.
    for each in whole if isinstance(whole, list) else [whole]:
        yield read_cache(json.dumps(each).encode())


def record_of(result: CachedResult, source: str) -> Record:
    """Return the record of a result whose layers lie at `source`. Raises IntegrityError."""
    if result.layers is None:
        stored = json.dumps({"only known": result.identity})
    else:
        stored = LayerStack(
            layers=tuple(_layer(layer, source) for layer in result.layers)
        ).to_json()
    now = time.time()
    record = Record(
        identity=result.identity,
        result=stored,
        step=result.step,
        explain=result.explain,
        created=now,
        last_used=now,
    )
    try:
        record.ingredients()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"the cache tells of {result.step!r} what can't be read") from error
    return record


def _layer(layer: CachedLayer, source: str) -> LayerRef:
    blob = layer.blob
    if layer.is_in_pieces:
        source = f"{PIECES}{source}"
        # Only imported where there are layers in pieces.
        from polyarch.images.pieces import compression_of  # noqa: PLC0415

        if compression_of(blob.media_type) != layer.compression:
            # Here its blob would be another one; as an archive it is the same everywhere.
            blob = Descriptor(
                media_type=OCI_LAYER, digest=Digest(layer.diff_id), size=layer.archive
            )
    return LayerRef(
        snapshot=snapshot_of_diff(layer.diff_id),
        diff_id=layer.diff_id,
        blob=blob,
        sources=layer.sources if layer.created is None else (source,),
        is_linked=layer.is_linked,
        created=layer.created,
        description=layer.description,
    )
