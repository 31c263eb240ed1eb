"""What is asked where the store has no record: caches that were read before the build, and addresses of single steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from polyarch.caches.form import is_portable
from polyarch.caches.names import Names, name_of_diffs, name_of_key
from polyarch.digest import DiffID
from polyarch.graph.vertex import Vertex
from polyarch.record import frozen
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.elsewhere import Elsewhere
from polyarch.solver.key import CacheKey, Ingredients
from polyarch.solver.records import Record

__all__ = ["ImportedResults", "Several", "stack_of"]

DiffIDs = Callable[[LayerStack], Sequence[DiffID] | None]


def stack_of(record: Record) -> LayerStack | None:
    """Return the layers of a record's result, None if it has none that are known."""
    try:
        return LayerStack.from_json(record.result)
    except (ValueError, KeyError, TypeError):
        return None


class ImportedResults:
    """The records of caches that were read as a whole, by the caches' own keys.

    `diff_ids` gives those of a result, None unless all are known.
    """

    is_far = False

    def __init__(self, records: Mapping[CacheKey, Record], diff_ids: DiffIDs) -> None:
        self._records = dict(records)
        self._diff_ids = diff_ids
        self._names = Names()
        self._alike: dict[str, dict[str, Record]] = {}
        for key, record in records.items():
            alike, slash, identity = key.partition("/")
            if slash:
                self._alike.setdefault(alike, {})[identity] = record

    def identified(self, vertex: Vertex, identity: str) -> None:
        """See Elsewhere."""
        self._names.identified(vertex, identity)

    def find(self, vertex: Vertex, ingredients: Ingredients) -> Record | None:
        """See Elsewhere."""
        keys = self._names.keys(vertex, ingredients)
        known = (*keys.slow, *keys.fast) if keys else ()
        return next((self._records[key] for key in known if key in self._records), None)

    def find_alike(self, vertex: Vertex, ingredients: Ingredients) -> Mapping[str, Record]:
        """See Elsewhere."""
        keys = self._names.keys(vertex, ingredients)
        return {
            identity: record
            for key in (keys.alike if keys else ())
            for identity, record in self._alike.get(key, {}).items()
        }

    def found(self, vertex: Vertex, record: Record) -> None:
        """See Elsewhere."""
        if is_portable(record.identity):
            self._names[vertex] = record.identity
            return
        known = self.find(vertex, record.ingredients())
        if known is not None:
            self._names[vertex] = known.identity
            return
        keys = self._names.keys(vertex, record.ingredients())
        stack = stack_of(record)
        diff_ids = self._diff_ids(stack) if stack is not None else None
        if diff_ids is not None:
            self._names[vertex] = name_of_diffs(diff_ids)
        elif keys is not None:
            self._names[vertex] = name_of_key(keys.certain)

    def lost(self, _vertex: Vertex, record: Record) -> None:
        """See Elsewhere."""
        self._records = {key: each for key, each in self._records.items() if each != record}

    def ran(self, vertex: Vertex, record: Record, _seconds: float) -> None:
        """See Elsewhere."""
        self.found(vertex, record)


@frozen
class Several:
    """All that is asked, one after the other."""

    each: tuple[Elsewhere, ...]

    @staticmethod
    def of(some: Iterable[Elsewhere | None]) -> Elsewhere | None:
        """Return what asks all of them, None if there are none."""
        found = tuple(each for each in some if each is not None)
        return found[0] if len(found) == 1 else Several(each=found) if found else None

    @property
    def is_far(self) -> bool:
        """See Elsewhere."""
        return any(each.is_far for each in self.each)

    def identified(self, vertex: Vertex, identity: str) -> None:
        """See Elsewhere."""
        for each in self.each:
            each.identified(vertex, identity)

    def find(self, vertex: Vertex, ingredients: Ingredients) -> Record | None:
        """See Elsewhere."""
        found = (each.find(vertex, ingredients) for each in self.each)
        return next((record for record in found if record is not None), None)

    def find_alike(self, vertex: Vertex, ingredients: Ingredients) -> Mapping[str, Record]:
        """See Elsewhere."""
        found = [each.find_alike(vertex, ingredients) for each in self.each]
        return {identity: record for some in reversed(found) for identity, record in some.items()}

    def found(self, vertex: Vertex, record: Record) -> None:
        """See Elsewhere."""
        for each in self.each:
            each.found(vertex, record)

    def lost(self, vertex: Vertex, record: Record) -> None:
        """See Elsewhere."""
        for each in self.each:
            each.lost(vertex, record)

    def ran(self, vertex: Vertex, record: Record, seconds: float) -> None:
        """See Elsewhere."""
        for each in self.each:
            each.ran(vertex, record, seconds)
