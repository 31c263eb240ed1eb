"""From what a solve found out to the cache that is written: keys that mean the same on every machine.

In the store a result is called by its snapshots, which have random names. In a cache it is called by its
layers' diff IDs, or where these aren't known, by the key that it is found by; the keys of the steps above are
made anew with these names. So two machines that build the same write the same cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from polyarch.caches.form import Cache, CachedLayer, CachedResult
from polyarch.digest import Digest, sha256
from polyarch.graph.vertex import Vertex
from polyarch.record import frozen, replace
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.facts import Facts
from polyarch.solver.key import (
    CacheKey,
    Ingredients,
    InputPart,
    candidate_key,
    fast_key,
    has_lasting_identity,
    slow_key,
)
from polyarch.solver.records import Record

__all__ = ["gather"]

Layers = Callable[[LayerStack], tuple[CachedLayer, ...] | None]
Places = Callable[[LayerStack], Mapping[int, Sequence[str]]]


def gather(facts: Iterable[Facts], layers: Layers, places: Places) -> Cache:
    """Return the cache of a solve's vertices, which come inputs first.

    `layers` gives those of a result that are to be in the cache, None for one that is only to be known;
    `places` where its large files are.
    """
    gatherer = _Gatherer(layers, places)
    return Cache(results=tuple(filter(None, map(gatherer.take, facts))))


class _Gatherer:
    def __init__(self, layers: Layers, places: Places) -> None:
        self._layers = layers
        self._places = places
        self._names: dict[Digest, str] = {}

    def take(self, facts: Facts) -> CachedResult | None:
        """Return what the cache says of a vertex; None for a source, and for what no key leads to."""
        vertex, record = facts.vertex, facts.record
        if not vertex.inputs:
            if has_lasting_identity(vertex):
                self._names[vertex.digest] = facts.identity
            return None
        if record is None:
            return None
        keys = self._keys(vertex, record)
        if keys is None:
            return None
        stack = _stack(record)
        layers = self._layers(stack) if stack is not None else None
        name = _name(keys.certain, layers)
        self._names[vertex.digest] = name
        alike = [candidate_key(each, name) for each in keys.alike]
        has_places = bool(alike) and layers is not None and stack is not None
        return CachedResult(
            keys=(*keys.fast, *keys.slow, *alike),
            identity=name,
            step=record.step,
            explain=keys.ingredients.to_json(),
            layers=layers,
            places={number: tuple(paths) for number, paths in self._places(stack).items()}
            if has_places and stack is not None
            else {},
        )

    def _keys(self, vertex: Vertex, record: Record) -> _Keys | None:
        known = record.ingredients()
        if len(known.inputs) != len(vertex.inputs):
            return None
        parts = tuple(
            replace(part, identity=self._names.get(source.digest, ""))
            for part, source in zip(known.inputs, vertex.inputs, strict=True)
        )
        fast = fast_key(vertex, parts) if all(part.identity for part in parts) else None
        slow = slow_key(vertex, parts) if _names_suffice(parts) else None
        if fast is None and slow is None:
            return None
        is_whole = all(part.is_whole for part in parts)
        return _Keys(
            fast=(fast,) if fast else (),
            slow=(slow,) if slow and is_whole else (),
            alike=(slow,) if slow and not is_whole else (),
            ingredients=replace(known, inputs=parts),
        )


@frozen
class _Keys:
    fast: tuple[CacheKey, ...]
    slow: tuple[CacheKey, ...]
    alike: tuple[CacheKey, ...]
    ingredients: Ingredients

    @property
    def certain(self) -> CacheKey:
        """The key that a result is called by if nothing else is known of it."""
        return (*self.fast, *self.slow, *self.alike)[0]


def _names_suffice(parts: Sequence[InputPart]) -> bool:
    """Whether every input that isn't read by content has a name."""
    return all(part.identity or part.content is not None for part in parts)


def _stack(record: Record) -> LayerStack | None:
    try:
        return LayerStack.from_json(record.result)
    except (ValueError, KeyError, TypeError):
        return None


def _name(key: CacheKey, layers: Sequence[CachedLayer] | None) -> str:
    if layers is None:
        return f"key:{key}"
    return "layers:" + sha256("\n".join(layer.diff_id for layer in layers).encode())
