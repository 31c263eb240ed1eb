"""Results that other machines have: looked up by keys that mean the same everywhere, where the store has none.

Keys of the store are made of names that only it knows. Who has results of others keeps a name of its own for each
vertex of a solve, is told how each came to be known, and makes keys of these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from polyarch.graph.vertex import Vertex
from polyarch.solver.key import Ingredients
from polyarch.solver.records import Record

__all__ = ["Elsewhere"]


class Elsewhere(Protocol):
    """Has results of others. Called from several threads at once; of each vertex after its inputs."""

    @property
    def is_far(self) -> bool:
        """Whether looking something up takes as long as a network does."""

    def identified(self, vertex: Vertex, identity: str, /) -> None:
        """A source is what `identity` names."""

    def find(self, vertex: Vertex, ingredients: Ingredients, /) -> Record | None:
        """Return a record of a result, by what is known of the inputs so far. Raises Cancelled."""

    def find_alike(self, vertex: Vertex, ingredients: Ingredients, /) -> Mapping[str, Record]:
        """Return records of what looks the same, by the identities of their results. Raises Cancelled."""

    def found(self, vertex: Vertex, record: Record, /) -> None:
        """A step has this record: of the store, or of those that `find` has given."""

    def lost(self, vertex: Vertex, record: Record, /) -> None:
        """The result of a record turned out to be gone."""

    def ran(self, vertex: Vertex, record: Record, seconds: float, /) -> None:
        """A step ran, which took so long, and this record was written."""
