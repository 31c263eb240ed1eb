"""What a cache says: results of steps, the keys that they are looked for by, and where their layers are.

The document is BuildKit's cache config: `layers` is a forest, each layer above its `parent`, and `records` say by
which digest a result is looked for and which layer is its topmost. Its readers find what they know there,
and nothing that fits, since keys are a builder's own. What ours need beside that is in each entry under
`polyarch`, which they pass over; so do we what has no such entry.

    layers   blob, parent, annotations (mediaType, diffID, size, createdAt)
             polyarch: sources (of a base image's layer), created, description, linked, annotations, archive,
             compression (of one in pieces)
    records  digest, layers (one, or none for a result that is only known by name)
             polyarch: keys, identity, step, explain, places, seconds

Source: BuildKit, cache/remotecache/v1, "CacheConfig".
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping, Sequence

from polyarch.digest import DiffID, Digest, parse_digest
from polyarch.errors import IntegrityError, InvalidReference
from polyarch.golang.json import compact
from polyarch.golang.time import time_of
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import field, frozen

__all__ = [
    "CONFIG",
    "INLINE",
    "Cache",
    "CachedLayer",
    "CachedResult",
    "is_portable",
    "read_cache",
    "write_cache",
]

CONFIG = "application/vnd.buildkit.cacheconfig.v0"
"""The media type of the document."""
_OURS = "polyarch"
_LATEST = 253402300800.0
"""The year 10000, which no date can have, in seconds since the epoch."""
_MOST_LAYERS = 4096
"""Upon one another: a file system takes fewer, and a cycle of parents would have no end."""


@frozen
class CachedLayer:
    """A layer of a result.

    `created` is in seconds since the epoch, None for one that came with a base image and lies in the repositories
    `sources`; others lie where the cache does. One that lies there in pieces has the bytes of its `archive`, and says
    by which `compression` its blob can be made of it (see `images/pieces.py`).
    """

    blob: Descriptor
    diff_id: DiffID
    created: float | None = None
    description: str = ""
    sources: tuple[str, ...] = ()
    is_linked: bool = False
    archive: int = 0
    compression: str = ""

    @property
    def is_in_pieces(self) -> bool:
        """Whether there is no blob of it as a whole."""
        return self.archive > 0


@frozen
class CachedResult:
    """What a step gave. `keys` and `identity` are as in docs/solver.md; `explain` is JSON of the keys' ingredients.

    `layers` are base first, None for a result that is only known: steps above it can be found, it can't be
    loaded. `places` are where large files of other stages are in the topmost layer, by input. `seconds` is how long
    the step took, 0 if that isn't known.
    """

    keys: tuple[str, ...]
    identity: str
    step: str
    explain: str
    layers: tuple[CachedLayer, ...] | None = None
    places: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0


@frozen
class Cache:
    """All results of a cache. What another builder has put there: results, and blobs."""

    results: tuple[CachedResult, ...]
    other_results: int = 0
    other_blobs: tuple[Digest, ...] = ()

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The layers that lie where the cache does, each once."""
        layers = (layer for result in self.results for layer in result.layers or ())
        own = {
            layer.blob.digest: layer.blob
            for layer in layers
            if layer.created is not None and not layer.is_in_pieces
        }
        return tuple(own.values())


def write_cache(cache: Cache) -> bytes:
    """Return the document, the same for the same cache."""
    forest = _Forest()
    records = [_record(result, forest.plant(result.layers or ())) for result in cache.results]
    return compact({"layers": forest.layers, "records": records}, sort_keys=True)


class _Forest:
    """The layers of many stacks, what they have in common once."""

    def __init__(self) -> None:
        self.layers: list[dict[str, object]] = []
        self._known: dict[tuple[Digest, bool, int], int] = {}

    def plant(self, stack: Sequence[CachedLayer]) -> int:
        """Add a stack; return the number of its topmost layer, -1 if it has none."""
        top = -1
        for layer in stack:
            key = (layer.blob.digest, layer.is_linked, top)
            if key not in self._known:
                self._known[key] = len(self.layers)
                self.layers.append(_layer(layer, top))
            top = self._known[key]
        return top


def _layer(layer: CachedLayer, parent: int) -> dict[str, object]:
    annotations = {
        "mediaType": layer.blob.media_type,
        "diffID": layer.diff_id,
        "size": layer.blob.size,
    }
    ours: dict[str, object] = {}
    if layer.created is None:
        ours["sources"] = list(layer.sources)
    else:
        annotations["createdAt"] = time_of(layer.created).rfc3339()
        ours |= {"created": repr(float(layer.created)), "description": layer.description}
    if layer.is_linked:
        ours["linked"] = True
    if layer.is_in_pieces:
        ours |= {"archive": layer.archive, "compression": layer.compression}
    if layer.blob.annotations:
        ours["annotations"] = dict(layer.blob.annotations)
    return {
        "blob": layer.blob.digest,
        "parent": parent,
        "annotations": annotations,
        _OURS: ours,
    }


def _record(result: CachedResult, top: int) -> dict[str, object]:
    ours: dict[str, object] = {
        "keys": list(result.keys),
        "identity": result.identity,
        "step": result.step,
        "explain": result.explain,
        "loadable": result.layers is not None,
    }
    if result.seconds:
        ours["seconds"] = repr(float(result.seconds))
    if result.places:
        ours["places"] = [
            {"input": number, "paths": list(paths)} for number, paths in result.places.items()
        ]
    fields: dict[str, object] = {"digest": result.keys[0].partition("/")[0], _OURS: ours}
    return fields if top < 0 else {**fields, "layers": [{"layer": top}]}


def read_cache(data: bytes) -> Cache:
    """Read a document; what another builder wrote for itself is only counted. Raises IntegrityError."""
    fields = read_document(data)
    entries = list(fields.objects("layers"))
    layers = [_read_layer(entry) if _OURS in entry else None for entry in entries]
    # Of the lowest layer it is -1; what is left out is Go's 0.
    parents = [entry.integer("parent") for entry in entries]
    records = list(fields.objects("records"))
    # In the config of an image they have no blobs: they are the image's.
    others = [blob for entry in entries if _OURS not in entry and (blob := entry.text("blob"))]
    return Cache(
        results=tuple(_read_record(each, layers, parents) for each in records if _OURS in each),
        other_results=sum("layers" in each and _OURS not in each for each in records),
        other_blobs=tuple(map(parse_digest, others)),
    )


def _read_layer(entry: Fields) -> CachedLayer:
    annotations, ours = entry.object("annotations"), entry.object(_OURS)
    return CachedLayer(
        blob=Descriptor(
            media_type=annotations.text("mediaType", required=True),
            digest=parse_digest(entry.text("blob", required=True)),
            size=annotations.number("size", required=True),
            annotations=ours.text_map("annotations"),
        ),
        diff_id=DiffID(parse_digest(annotations.text("diffID", required=True))),
        created=_seconds(ours, "created"),
        description=ours.text("description"),
        sources=tuple(filter(_is_source, ours.texts("sources"))),
        is_linked=ours.flag("linked"),
        archive=ours.number("archive"),
        compression=ours.text("compression"),
    )


def _is_source(text: str) -> bool:
    """Tell whether a text names a place where layers of base images are; what doesn't is passed over."""
    if text.startswith(LAYOUT_SCHEME):
        return "\0" not in text
    try:
        parse_reference(text)
    except InvalidReference:
        return False
    return True


def _seconds(fields: Fields, key: str) -> float | None:
    text = fields.text(key)
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = math.nan
    if seconds is not None and not 0 <= seconds < _LATEST:
        raise IntegrityError(f"{fields.place(key)} is {text!r} instead of seconds")
    return seconds


def _read_record(
    entry: Fields, layers: Sequence[CachedLayer | None], parents: Sequence[int]
) -> CachedResult:
    ours = entry.object(_OURS)
    keys = ours.texts("keys")
    if not keys:
        raise IntegrityError(f"{ours.place('keys')} is empty")
    tops = [each.number("layer") for each in entry.objects("layers")]
    identity = ours.text("identity", required=True)
    if not is_portable(identity):
        raise IntegrityError(
            f"{ours.place('identity')} is {identity!r}, which no cache calls a result"
        )
    stack = _stack(tops[0] if tops else -1, layers, parents)
    return CachedResult(
        keys=keys,
        identity=identity,
        step=ours.text("step"),
        explain=ours.text("explain", required=True),
        layers=stack if ours.flag("loadable") else None,
        places={each.number("input"): _paths(each) for each in ours.objects("places")},
        seconds=_seconds(ours, "seconds") or 0.0,
    )


def is_portable(identity: str) -> bool:
    """Whether a result is called so by a cache, and not by the store."""
    return identity.startswith(("key:", "layers:"))


def _paths(entry: Fields) -> tuple[str, ...]:
    """Return paths in a layer: they are opened, so they mustn't lead out of it."""
    paths = entry.texts("paths")
    for path in paths:
        if posixpath.normpath(path) != path or path.startswith(("/", "..")):
            raise IntegrityError(
                f"{entry.place('paths')} has {path!r}, which leads out of the layer"
            )
    return paths


def _stack(
    top: int, layers: Sequence[CachedLayer | None], parents: Sequence[int]
) -> tuple[CachedLayer, ...]:
    found: list[CachedLayer] = []
    while top >= 0:
        layer = layers[top] if top < len(layers) else None
        if layer is None or len(found) == _MOST_LAYERS:
            raise IntegrityError(f"the cache has no layer {top}, of which a record tells")
        found.append(layer)
        top = parents[top]
    return tuple(reversed(found))


INLINE = "moby.buildkit.cache.v0"
"""The key in an image's config under which the cache lies that came with it, base64."""
