"""From what a solve found out to the cache that is written: keys that mean the same on every machine.

In the store a result is called by its snapshots, which have random names. In a cache it is called by its
layers' diff IDs, or where these aren't known, by the key that it is found by; the keys of the steps above are
made anew with these names. So two machines that build the same write the same cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from polyarch.caches.form import Cache, CachedLayer, CachedResult
from polyarch.caches.names import Names, name_of_diffs, name_of_key
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.facts import Facts
from polyarch.solver.key import candidate_key
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
        self._names = Names()

    def take(self, facts: Facts) -> CachedResult | None:
        """Return what the cache says of a vertex; None for a source, and for what no key leads to."""
        vertex, record = facts.vertex, facts.record
        if not vertex.inputs:
            self._names.identified(vertex, facts.identity)
            return None
        keys = self._names.keys(vertex, record.ingredients()) if record else None
        if record is None or keys is None:
            return None
        stack = _stack(record)
        layers = self._layers(stack) if stack is not None else None
        name = (
            name_of_key(keys.certain)
            if layers is None
            else name_of_diffs([layer.diff_id for layer in layers])
        )
        self._names[vertex] = name
        alike = [candidate_key(each, name) for each in keys.alike]
        has_places = alike and layers is not None and stack is not None
        places = self._places(stack) if has_places and stack is not None else {}
        return CachedResult(
            keys=(*keys.fast, *keys.slow, *alike),
            identity=name,
            step=record.step,
            explain=keys.ingredients.to_json(),
            layers=layers,
            places={number: tuple(paths) for number, paths in places.items()},
        )


def _stack(record: Record) -> LayerStack | None:
    try:
        return LayerStack.from_json(record.result)
    except (ValueError, KeyError, TypeError):
        return None
