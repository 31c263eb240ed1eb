"""A container over results of a graph that another program has made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Part, Sources
from polyarch.graph.graph import Graph
from polyarch.graph.op import ExecOp
from polyarch.graph.vertex import Vertex
from polyarch.pipeline.reading import open_reading
from polyarch.progress import CancelToken, Sink
from polyarch.request.values import BuildRequest
from polyarch.snapshot.stack import LayerStack
from polyarch.store.snapshots import RecordType
from polyarch.worker.container import Container, open_container
from polyarch.worker.tree import SourceTree
from polyarch.worker.work import Work
from polyarch.worker.worker import Result

__all__ = ["Wanted", "container_on", "container_over", "drop_trees"]


class Wanted(Protocol):
    """What knows what is mounted."""

    def lower(self, images: BaseImages, sink: Sink) -> Vertex:
        """Return an exec of which the mounts count; its root is the first input."""

    def given(self) -> Mapping[int, LayerStack]:
        """Return results of the exec's inputs that are there already, by number; asked after `lower`."""

    def trees(self) -> Mapping[str, SourceTree]:
        """Return the directories that the graph reads, by the names of its local ops; asked after `lower`."""


@contextmanager
def container_on(
    engine: Engine, request: BuildRequest, wanted: Wanted, sink: Sink, cancel: CancelToken
) -> Iterator[Container]:
    """Yield a container of what is wanted, whose graph is solved first. Raises as `build_on`."""
    with open_reading(engine, request, sink, cancel) as reading:
        images = engine.images(reading.sink)
        vertex = wanted.lower(images.resolver(cancel, pull=request.pull), reading.sink)
        given = wanted.given()
        targets = [each for number, each in enumerate(vertex.inputs) if number not in given]
        graph = Graph(targets=tuple(dict.fromkeys(targets)))
        if engine.caller is not None:
            engine.caller.bring(graph, reading.sink)
        sources = Sources(contexts=wanted.trees(), images=images, remote=reading.remote)
        part = Part(graph=graph, sources=sources, request=request)
        solved = dict(zip(graph.targets, engine.solve(part, cancel).results, strict=True))
        results = [
            given[number] if number in given else solved[each]
            for number, each in enumerate(vertex.inputs)
        ]
        with container_over(engine, part, vertex, results, cancel) as container:
            yield container


@contextmanager
def container_over(
    engine: Engine, part: Part, vertex: Vertex, results: Sequence[Result], cancel: CancelToken
) -> Iterator[Container]:
    """Yield a container of what an exec mounts, over the results of its inputs; `part` has their sources.

    Raises NotFound, InputError, NoEmulator, Cancelled.
    """
    assert isinstance(vertex.op, ExecOp)
    images = part.sources.images
    if not engine.is_native(vertex.op.platform):
        engine.emulators(images, cancel).require(vertex.op.platform)
    root, worker = results[0], engine.crew(part).worker
    assert isinstance(root, LayerStack)
    images.ensure_unpacked(root, vertex.inputs[0], cancel)
    work = Work(vertex=vertex, stack=root, sources=results, reading=worker.reading, cancel=cancel)
    with open_container(worker.steps(), work) as container:
        yield container


def drop_trees(engine: Engine, trees: Iterable[LayerStack]) -> None:
    """Remove what steps that failed have left, as nobody looks at it any more."""
    store, snapshotter = engine.store, engine.snapshotter
    for top in {each.snapshots[-1] for each in trees if each.snapshots}:
        record = store.snapshots.find(top)
        if record is not None and record.type is RecordType.INTERNAL:
            store.snapshots.remove(top)
            snapshotter.remove(top)
