"""What a graph reads of the build contexts, so that no more of them than that has to be brought here."""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.digest import Digest
from polyarch.graph.graph import Graph
from polyarch.graph.op import BindMount, CacheMount, CopyAction, ExecOp, FileOp, LocalOp
from polyarch.graph.vertex import Vertex
from polyarch.record import frozen

__all__ = ["ALL", "ContextRead", "context_reads"]

ALL = "/"
"""The whole context."""


@frozen
class ContextRead:
    """What is read of a build context: by which step that shows, and which paths, sorted; they may be patterns, and `ALL`."""

    step: Digest
    step_name: str
    paths: tuple[str, ...]


def context_reads(graph: Graph) -> dict[str, ContextRead]:
    """Return what is read of each build context, by its name."""
    found: dict[str, set[str]] = {}
    steps: dict[str, Vertex] = {}
    for vertex in graph.vertices():
        for number, path in _reads(vertex):
            source = vertex.inputs[number].op
            if isinstance(source, LocalOp):
                found.setdefault(source.name, set()).add(path)
        if isinstance(vertex.op, LocalOp):
            steps[vertex.op.name] = vertex
            if vertex in graph.targets:
                found.setdefault(vertex.op.name, set()).add(ALL)
    return {
        name: ContextRead(
            step=steps[name].digest, step_name=steps[name].name, paths=tuple(sorted(paths))
        )
        for name, paths in found.items()
    }


def _reads(vertex: Vertex) -> Iterator[tuple[int, str]]:
    """Give what a vertex reads of its inputs: their numbers, and paths in them."""
    named: set[int] = set()
    match vertex.op:
        case FileOp(actions=actions):
            for action in actions:
                if isinstance(action, CopyAction):
                    named.add(action.input)
                    for source in action.sources:
                        yield action.input, source
        case ExecOp(mounts=mounts):
            for mount in mounts:
                if isinstance(mount, BindMount | CacheMount) and mount.input is not None:
                    named.add(mount.input)
                    yield mount.input, mount.source
    for number in range(len(vertex.inputs)):
        if number not in named:
            yield number, ALL
