"""What results are called in a cache: names and keys that mean the same on every machine.

In the store a result is called by its snapshots, which have random names. A cache calls it otherwise, and the keys of
the steps above are made anew of the cache's names. Who keeps them says how a result is called; here is how the
keys follow from that.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.digest import Digest, sha256
from polyarch.graph.vertex import Vertex
from polyarch.record import frozen, replace
from polyarch.solver.key import (
    CacheKey,
    Ingredients,
    InputPart,
    fast_key,
    has_lasting_identity,
    slow_key,
)

__all__ = ["Keys", "Names", "name_of_diffs", "name_of_key"]


def name_of_key(key: CacheKey) -> str:
    """Return the name of a result of which nothing is known but what it is found by."""
    return f"key:{key}"


def name_of_diffs(diff_ids: Sequence[str]) -> str:
    """Return the name of a result by the diff IDs of its layers, base first."""
    return "layers:" + sha256("\n".join(diff_ids).encode())


@frozen
class Keys:
    """The keys of one result in a cache, at most one of each kind; at least one is there.

    `ingredients` are what they are made of.
    """

    ingredients: Ingredients
    fast: tuple[CacheKey, ...] = ()
    slow: tuple[CacheKey, ...] = ()
    alike: tuple[CacheKey, ...] = ()

    @property
    def certain(self) -> CacheKey:
        """The key that a result is called by if nothing else is known of it."""
        return (*self.fast, *self.slow, *self.alike)[0]


class Names:
    """The names of a solve's results in one cache; may be used from several threads."""

    def __init__(self) -> None:
        self._names: dict[Digest, str] = {}

    def __setitem__(self, vertex: Vertex, name: str) -> None:
        self._names[vertex.digest] = name

    def identified(self, vertex: Vertex, identity: str) -> None:
        """Note what a source is, if that means anything to other machines."""
        if has_lasting_identity(vertex):
            self._names[vertex.digest] = identity

    def get(self, vertex: Vertex) -> str:
        """Return the name of a result, "" if it has none."""
        return self._names.get(vertex.digest, "")

    def keys(self, vertex: Vertex, known: Ingredients) -> Keys | None:
        """Return the keys of a result that was made of this, None if the cache has none for it."""
        if not vertex.inputs or len(known.inputs) != len(vertex.inputs):
            return None
        parts = tuple(
            replace(part, identity=self.get(source))
            for part, source in zip(known.inputs, vertex.inputs, strict=True)
        )
        fast = _some(fast_key(vertex, parts) if all(part.identity for part in parts) else None)
        slow = _some(slow_key(vertex, parts) if _names_suffice(parts) else None)
        if not fast and not slow:
            return None
        is_whole = all(part.is_whole for part in parts)
        return Keys(
            fast=fast,
            slow=slow if is_whole else (),
            alike=() if is_whole else slow,
            ingredients=replace(known, inputs=parts),
        )


def _names_suffice(parts: Sequence[InputPart]) -> bool:
    """Whether every input that isn't read by content has a name."""
    return all(part.identity or part.content is not None for part in parts)


def _some(key: CacheKey | None) -> tuple[CacheKey, ...]:
    return () if key is None else (key,)
