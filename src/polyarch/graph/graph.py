"""Graphs: vertices by digest, in the order in which they can be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from polyarch.digest import Digest
from polyarch.graph.location import Location
from polyarch.graph.op import Op
from polyarch.graph.vertex import StepNote, Vertex, make_vertex
from polyarch.record import frozen

__all__ = ["Graph", "GraphMaker", "walk"]


def walk(targets: Iterable[Vertex]) -> Iterator[Vertex]:
    """Yield every vertex that the targets need, inputs before their users, each once."""
    seen: set[Digest] = set()
    stack = [(vertex, False) for vertex in reversed(list(targets))]
    while stack:
        vertex, is_expanded = stack.pop()
        if is_expanded:
            yield vertex
        elif vertex.digest not in seen:
            seen.add(vertex.digest)
            stack.append((vertex, True))
            stack.extend((source, False) for source in reversed(vertex.inputs))


@frozen
class Graph:
    """What a build shall compute: the results of `targets`, one for each platform, in that order."""

    targets: tuple[Vertex, ...]

    def vertices(self) -> Iterator[Vertex]:
        """Yield every vertex, inputs first."""
        return walk(self.targets)


class GraphMaker:
    """Makes vertices such that equal work is one object, whoever asks for it (hash-consing)."""

    def __init__(self) -> None:
        self._vertices: dict[tuple[Digest, bool, tuple[int, ...]], Vertex] = {}

    def add(
        self,
        op: Op,
        inputs: tuple[Vertex, ...] = (),
        *,
        name: str = "",
        location: Location | None = None,
        platform_name: str = "",
        ignore_cache: bool = False,
        note: StepNote | None = None,
    ) -> Vertex:
        """Return the vertex of this op and these inputs; of two equal ones the first name stays."""
        vertex = make_vertex(
            op,
            inputs,
            name=name,
            location=location,
            platform_name=platform_name,
            ignore_cache=ignore_cache,
            note=note,
        )
        # Equal work over inputs that do and that don't use the cache must not be mixed up.
        key = (vertex.digest, ignore_cache, tuple(map(id, inputs)))
        return self._vertices.setdefault(key, vertex)
