"""The vertices of a graph as the state machine sees them: how far each is, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from polyarch.digest import Digest
from polyarch.errors import PolyarchError
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.record import field, mutable
from polyarch.solver.event import ContentRead, Event, Found, Identified, Lost, Ran
from polyarch.solver.key import CacheKey, Content, Ingredients, InputPart, fast_key, slow_key
from polyarch.solver.records import Record

__all__ = ["ENDS", "Node", "State", "all_known", "lacking_of", "learn", "make_nodes", "moves"]


class State(StrEnum):
    """How far a vertex is."""

    NEW = "new"
    IDENTIFYING = "identifying"
    FAST = "fast"
    CONTENT = "content"
    SLOW = "slow"
    INPUTS = "inputs"
    RUNNING = "running"
    KNOWN = "known"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"


ENDS = frozenset({State.LOADED, State.FAILED})
_HAS_COMMAND = frozenset({State.IDENTIFYING, State.FAST, State.SLOW, State.RUNNING, State.LOADING})


@mutable
class Node:
    """A vertex and what is known of it. `found_in` is the state in which it became known, `error` what it failed by."""

    vertex: Vertex
    content: frozenset[int]
    ignore_cache: bool = False
    inputs: tuple[Node, ...] = ()
    users: list[Node] = field(default_factory=list)
    state: State = State.NEW
    wanted: bool = False
    foreseen: bool = False
    identity: str = ""
    record: Record | None = None
    found_in: State = State.NEW
    reading: set[int] = field(default_factory=set)
    contents: dict[int, Content] = field(default_factory=dict)
    under_way: int = 0
    error: PolyarchError | None = None

    def parts(self) -> tuple[InputPart, ...]:
        """What is seen of the inputs now."""
        return tuple(
            _part(source.identity, self.contents.get(index))
            for index, source in enumerate(self.inputs)
        )

    def ingredients(self) -> Ingredients:
        """All that the keys are made of."""
        return Ingredients(op=self.vertex.cache_digest, inputs=self.parts())

    def keys(self) -> tuple[CacheKey, ...]:
        """The keys that can be told now, the fast one first."""
        parts = self.parts()
        keys = fast_key(self.vertex, parts), slow_key(self.vertex, parts)
        return tuple(key for key in keys if key is not None)


def make_nodes(
    graph: Graph, content_inputs: Callable[[Vertex], frozenset[int]]
) -> dict[Digest, Node]:
    """Return the vertices of a graph by digest; `content_inputs` tells which inputs each reads by content."""
    nodes: dict[Digest, Node] = {}
    for vertex in graph.vertices():
        node = Node(
            vertex=vertex,
            content=content_inputs(vertex),
            inputs=tuple(nodes[source.digest] for source in vertex.inputs),
        )
        for source in dict.fromkeys(node.inputs):
            source.users.append(node)
        nodes[vertex.digest] = node
    # Of equal vertices only one was walked; the cache is ignored if any of them says so.
    mentioned = [*graph.targets, *(s for node in nodes.values() for s in node.vertex.inputs)]
    for vertex in mentioned:
        nodes[vertex.digest].ignore_cache |= vertex.ignore_cache
    return nodes


def learn(node: Node, event: Event) -> None:
    """Note what `event` says, before the state changes."""
    match event:
        case Identified(identity=identity):
            node.identity, node.found_in = identity, node.state
        case Found(record=record):
            node.identity, node.record, node.found_in = record.identity, record, node.state
        case Ran(identity=identity, record=record):
            node.identity, node.record = identity, record
        case ContentRead(index=index, content=content):
            node.contents[index] = content
        case Lost() if node.inputs:
            # A source is still what it was; a step may come out differently when it runs again.
            node.identity, node.record = "", None


def lacking_of(node: Node) -> PolyarchError | None:
    """Return what an input that `node` can't go on without failed by."""
    for index, source in enumerate(node.inputs):
        if source.error is None:
            continue
        is_read = index in node.content and index not in node.reading
        if (
            (node.state is State.NEW and not source.identity)
            or (node.state is State.CONTENT and (is_read or not source.identity))
            or node.state is State.INPUTS
        ):
            return source.error
    return None


def all_known(nodes: Iterable[Node]) -> bool:
    """Tell whether all have an identity."""
    return all(node.identity for node in nodes)


def moves(node: Node) -> bool:
    """Whether `node` is at rest rightly, has a command under way, or waits for an input that moves."""
    if node.state in _HAS_COMMAND:
        return node.under_way == 1
    if node.state is State.CONTENT:
        waits_for = [node.inputs[index] for index in node.content - node.reading]
        unread = len(node.reading) - len(node.contents)
        is_waiting = any(map(_will_load, waits_for)) or not all_known(node.inputs)
        return node.under_way == unread and (unread > 0 or is_waiting)
    if node.under_way or node.state is State.FAILED:
        return node.state is State.FAILED  # what else was read for it may not have come back
    if node.state is State.NEW:
        return not all_known(node.inputs)
    if node.state is State.INPUTS:
        return any(map(_will_load, node.inputs))
    return node.state in ENDS or not node.wanted


def _will_load(node: Node) -> bool:
    return node.wanted and node.state not in ENDS


def _part(identity: str, content: Content | None) -> InputPart:
    if content is None:
        return InputPart(identity=identity)
    return InputPart(identity=identity, content=content.digest, is_whole=content.is_whole)
