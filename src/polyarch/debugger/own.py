"""Debugging what this machine's engine builds: its graph as debuggers see it, and each result solved as any other graph is.

The build is an ordinary one, with a company that walks through the graph first: what that has solved is then found in the
cache, so nothing of solving knows of debuggers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from polyarch.buildkit.messages import Stat
from polyarch.debugger.hands import Debugger, Files, Goal, Shell
from polyarch.debugger.node import Input, Node, Program
from polyarch.debugger.tour import Stop
from polyarch.digest import Digest
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Built, Part
from polyarch.errors import InputError
from polyarch.graph.graph import Graph
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    ExecOp,
    FileOp,
    GitOp,
    HttpOp,
    ImageOp,
    LocalOp,
    MergeOp,
    ScratchOp,
)
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.pipeline.company import Company, Meaning
from polyarch.pipeline.containers import container_over, drop_trees
from polyarch.progress import CANCELED, CancelToken, Event, Sink, StepEvent
from polyarch.record import frozen, replace
from polyarch.request.talk import Talk
from polyarch.request.values import BuildRequest, is_address
from polyarch.serve.inside import list_directory, read_part
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.container import Container
from polyarch.worker.tree import SourceTree
from polyarch.worker.work import ROOT
from polyarch.worker.worker import Result

__all__ = ["DebuggedCompany", "nodes_of", "path_of"]


def nodes_of(targets: Sequence[Vertex]) -> dict[Digest, Node]:
    """Return all vertices that targets need as debuggers see them."""
    found: dict[Digest, Node] = {}
    for vertex in Graph(targets=tuple(targets)).vertices():
        if not isinstance(vertex.op, ScratchOp):
            found[vertex.digest] = _node(vertex, found)
    return found


def _node(vertex: Vertex, known: Mapping[Digest, Node]) -> Node:
    op = vertex.op
    labels = _labels(vertex)
    given = [
        (number, Input(node=known[each.digest], label=labels[number]))
        for number, each in enumerate(vertex.inputs)
        if each.digest in known
    ]
    has_parent = isinstance(op, ExecOp | FileOp | MergeOp) and given and given[0][0] == 0
    return Node(
        key=vertex.digest,
        name=vertex.name,
        inputs=tuple(each for _, each in given),
        parent=0 if has_parent else -1,
        location=vertex.location,
        platform=op.platform if isinstance(op, ExecOp | ImageOp) else None,
        program=_program(op) if isinstance(op, ExecOp) else None,
    )


def _program(op: ExecOp) -> Program:
    return Program(argv=op.argv, env=op.env, cwd=op.cwd, user=op.user)


def _labels(vertex: Vertex) -> list[str]:
    """Return what people know the inputs of a vertex by: where they are mounted, or what they are."""
    labels = [_label(each) for each in vertex.inputs]
    if isinstance(vertex.op, ExecOp):
        labels[0] = "/"
        for mount in vertex.op.mounts:
            if isinstance(mount, BindMount | CacheMount) and mount.input is not None:
                labels[mount.input] = mount.target
    return labels


def _label(vertex: Vertex) -> str:
    op = vertex.op
    if isinstance(op, ImageOp):
        return f"docker-image://{op.reference}@{op.digest}"
    if isinstance(op, LocalOp):
        return f"local://{op.name}"
    if isinstance(op, HttpOp):
        return op.url
    if isinstance(op, GitOp):
        return f"git://{op.remote}"
    return vertex.name or vertex.digest


class _Told:
    """A sink before another one: of what was told to have ended, nothing is told again, as solving begins anew at each stop."""

    def __init__(self, sink: Sink) -> None:
        self.failed = ""
        self._sink = sink
        self._ended: set[Digest] = set()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, StepEvent):
            with self._lock:
                if event.error:
                    if event.error != CANCELED and not self.failed:
                        self.failed = event.step
                elif event.step in self._ended:
                    return
                elif event.completed is not None:
                    self._ended.add(event.step)
        self._sink(event)


class DebuggedCompany(Company):
    """A build that a debugger walks through before it is done."""

    def __init__(self, debugger: Debugger, request: BuildRequest) -> None:
        self._debugger = debugger
        self._request = request
        self._told: _Told | None = None
        self._lowered: Sequence[Lowered] = ()

    def sink(self, sink: Sink) -> Sink:
        """See Company."""
        self._told = _Told(sink)
        return self._told

    def understood(self, meaning: Meaning) -> Meaning:
        """See Company."""
        self._lowered = meaning.lowered
        return meaning

    def solve(self, engine: Engine, part: Part, cancel: CancelToken, /) -> Built:
        """See Company."""
        assert self._told is not None
        with ExitStack() as resources:
            failures = _Failures()
            resources.callback(failures.drop, engine)
            part = replace(part, left=failures.note)
            work = _Work(
                engine=engine, part=part, cancel=cancel, told=self._told, failures=failures
            )
            self._debugger.debug([self._goal(each, work) for each in self._lowered])
            return engine.solve(part, cancel)

    def _goal(self, lowered: Lowered, work: _Work) -> Goal:
        nodes = nodes_of([lowered.vertex])
        node = nodes.get(lowered.vertex.digest)
        texts = {
            each.location.source.name: each.location.source.text
            for each in nodes.values()
            if each.location is not None
        }
        paths = {name: path_of(name, self._request) for name in texts}
        platform = f" ({lowered.platform})" if lowered.is_multi_platform else ""
        return Goal(
            name=f"{self._request.target or 'default'}{platform}",
            node=node or Node(key=lowered.vertex.digest, name="nothing"),
            hands=_OwnHands(lowered, work),
            paths=paths,
            texts={paths[name]: text for name, text in texts.items()},
        )


def path_of(name: str, request: BuildRequest) -> str:
    """Return where the text of a Dockerfile lies, its name alone if it lies nowhere on this machine."""
    dockerfile, context = request.dockerfile, request.context
    if dockerfile == "-" or is_address(dockerfile) or is_address(context):
        return name
    return os.path.abspath(dockerfile or os.path.join(context, name))


class _Failures:
    """What steps that failed have left; the last one counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.vertex: Vertex | None = None
        self.trees: Mapping[int, LayerStack] = {}
        self._all: list[LayerStack] = []

    def note(self, vertex: Vertex, trees: Mapping[int, LayerStack]) -> None:
        """See `polyarch.worker.work.Left`."""
        with self._lock:
            self.vertex, self.trees = vertex, trees
            self._all += trees.values()

    def drop(self, engine: Engine) -> None:
        """Remove what was left."""
        drop_trees(engine, self._all)


@frozen
class _Work:
    """What all results of a build are debugged with."""

    engine: Engine
    part: Part
    cancel: CancelToken
    told: _Told
    failures: _Failures


class _OwnHands:
    """One result of the engine's; see Hands."""

    def __init__(self, lowered: Lowered, work: _Work) -> None:
        self._lowered = lowered
        self._work = work
        graph = Graph(targets=(lowered.vertex,))
        self._vertices = {each.digest: each for each in graph.vertices()}

    def build(self, inputs: Sequence[Input]) -> None:
        """See Hands."""
        self._solved([self._vertex(each.node) for each in inputs])

    def _vertex(self, node: Node) -> Vertex:
        return self._vertices[Digest(node.key)]

    def _solved(self, vertices: Sequence[Vertex]) -> Sequence[Result]:
        work = self._work
        targets = tuple(dict.fromkeys(vertices))
        part = replace(work.part, graph=Graph(targets=targets))
        found = dict(zip(targets, work.engine.solve(part, work.cancel).results, strict=True))
        return [found[each] for each in vertices]

    def files(self, wanted: Input) -> Files:
        """See Hands."""
        vertex = self._vertex(wanted.node)
        return _Files(work=self._work, vertex=vertex, find=lambda: self._solved([vertex])[0])

    def failed(self) -> str:
        """See Hands."""
        return self._work.told.failed

    def left(self) -> Mapping[str, Files]:
        """See Hands."""
        vertex, trees = self._work.failures.vertex, self._work.failures.trees
        if vertex is None or vertex.digest not in self._vertices:
            return {}
        assert isinstance(vertex.op, ExecOp)
        found: dict[str, Files] = {}
        for number, tree in trees.items():
            label = "/" if number == ROOT else vertex.op.mounts[number].target
            found[label] = _Files(work=self._work, vertex=vertex, find=partial(_same, tree))
        return found

    @contextmanager
    def shell(self, stop: Stop, cancel: CancelToken, *, is_failed: bool = False) -> Iterator[Shell]:
        """See Hands."""
        if stop.root is None:
            raise InputError("the step begins with an empty root, in which nothing can run")
        vertex = self._vertex(stop.node)
        if not isinstance(vertex.op, ExecOp) or stop.is_after:
            vertex = make_vertex(self._image_op(), (self._vertex(stop.root.node),), name="shell")
        results = list(self._solved(vertex.inputs))
        if is_failed and self._work.failures.vertex == vertex:
            _put_left(vertex, results, self._work.failures.trees)
        work = self._work
        with container_over(work.engine, work.part, vertex, results, cancel) as container:
            yield _OwnShell(container=container, vertex=vertex)

    def _image_op(self) -> ExecOp:
        """Return what an image would run, for a stop where no program is about to."""
        run, platform = self._lowered.config.run, self._lowered.platform
        return ExecOp(
            argv=(*run.entrypoint, *run.cmd),
            env=run.env,
            cwd=run.working_dir or "/",
            user=run.user,
            platform=platform,
        )


def _put_left(vertex: Vertex, results: list[Result], left: Mapping[int, LayerStack]) -> None:
    """Put what a step has left in the place of what it was given."""
    assert isinstance(vertex.op, ExecOp)
    for number, tree in left.items():
        if number == ROOT:
            results[0] = tree
            continue
        mount = vertex.op.mounts[number]
        if isinstance(mount, BindMount):
            results[mount.input] = tree


def _same(tree: LayerStack) -> Result:
    return tree


@frozen
class _OwnShell:
    """A container of the engine's; see Shell."""

    container: Container
    vertex: Vertex

    @property
    def program(self) -> Program:
        """See Shell."""
        assert isinstance(self.vertex.op, ExecOp)
        return _program(self.vertex.op)

    def run(
        self,
        program: Program,
        talk: Talk,
        on_output: Callable[[int, bytes], None],
        cancel: CancelToken,
        *,
        is_first: bool,
    ) -> int:
        """See Shell."""
        op = self.vertex.op
        assert isinstance(op, ExecOp)
        env = program.env
        if talk.terminal is not None and not any(each.startswith("TERM=") for each in env):
            env = (*env, "TERM=xterm")
        op = replace(op, argv=program.argv, env=env, cwd=program.cwd or "/", user=program.user)
        return self.container.run(op, talk, on_output, cancel, is_first=is_first).status


@frozen
class _Files:
    """The files of a result of the engine's; see Files."""

    work: _Work
    vertex: Vertex
    find: Callable[[], Result]

    @contextmanager
    def _root(self) -> Iterator[Path]:
        result = self.find()
        if isinstance(result, SourceTree):
            yield result.root
            return
        self.work.part.sources.images.ensure_unpacked(result, self.vertex, self.work.cancel)
        with self.work.engine.snapshotter.view(result.snapshots) as root:
            yield root

    def list(self, path: str) -> Sequence[Stat]:
        """See Files."""
        with self._root() as root:
            return list_directory(root, path)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Files."""
        with self._root() as root:
            return read_part(root, path, offset, size)
