"""The state machine: events in, commands out; no I/O, no clock, no threads.

A vertex goes through these states (docs/solver.md has the picture and the reasons):

    NEW          waits until all inputs are known
    IDENTIFYING  a source is asked what it is
    FAST         the fast key is looked up
    CONTENT      waits until the inputs read by content are loaded, and digested
    SLOW         the slow key is looked up, or what looks alike is compared
    INPUTS       nothing was found: waits until all inputs are loaded
    RUNNING      runs (a source: is fetched)
    KNOWN        has an identity; its result isn't in hand
    LOADING      its stored result is got
    LOADED       its result is in hand: the end
    FAILED       it, or something that it needs, met an error: the end, too

What is asked of a vertex comes from above: it is *wanted* (loaded) if it is a target, if a user of it
is in INPUTS, or in CONTENT and reads it by content. That is the one fact beside the state which decides
what happens, and it is never taken back.

Prior art is BuildKit's scheduler, whose edges hold sets of keys that are merged as inputs show more of
them. Here a vertex has one identity at a time and at most two keys, tried in order; what is lost is a
match through the one of several names of an input that another build happened to use, which is given
back by writing each find under both keys.

Nothing is ever decided by asking around: a change of a vertex puts it and its users on an agenda, and
only what is on the agenda is looked at. So each dispatch ends with a check that what was looked at still
moves; a mistake in the rules becomes an error that names the vertex, not a build that hangs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from polyarch.digest import Digest
from polyarch.errors import InternalError, PolyarchError
from polyarch.graph.graph import Graph, walk
from polyarch.graph.op import ImageOp
from polyarch.graph.vertex import Vertex
from polyarch.solver.event import (
    Command,
    Compare,
    ContentRead,
    Event,
    Fetch,
    Fetched,
    Found,
    Identified,
    Identify,
    Load,
    Loaded,
    Lost,
    Missing,
    Query,
    Ran,
    ReadContent,
    Run,
)
from polyarch.solver.facts import Facts
from polyarch.solver.key import fast_key, slow_key
from polyarch.solver.node import ENDS, Node, State, all_known, lacking_of, learn, make_nodes, moves

__all__ = ["Machine", "State"]


# What an event does to a vertex in a state; all else is a bug. (LOADING, Lost) is in _AFTER_LOSS.
_ON_EVENT: Mapping[tuple[State, type[Event]], State] = {
    (State.IDENTIFYING, Identified): State.KNOWN,
    (State.FAST, Found): State.KNOWN,
    (State.FAST, Missing): State.CONTENT,
    (State.CONTENT, ContentRead): State.CONTENT,
    (State.SLOW, Found): State.KNOWN,
    (State.SLOW, Missing): State.INPUTS,
    (State.RUNNING, Found): State.KNOWN,
    (State.RUNNING, Ran): State.LOADED,
    (State.RUNNING, Fetched): State.LOADED,
    (State.LOADING, Loaded): State.LOADED,
}

# Where a vertex goes on when its result is lost, by the state in which the record was found: always
# further, so that a record that points at nothing and can't be removed doesn't lead round in circles.
_AFTER_LOSS: Mapping[State, State] = {
    State.IDENTIFYING: State.INPUTS,
    State.FAST: State.CONTENT,
    State.SLOW: State.INPUTS,
    State.RUNNING: State.INPUTS,
}


class Machine:
    """Decides what to do next for one graph. Used by one thread.

    `content_inputs` tells which inputs of a vertex are read by content.
    """

    def __init__(self, graph: Graph, content_inputs: Callable[[Vertex], frozenset[int]]) -> None:
        self._nodes = make_nodes(graph, content_inputs)
        self._targets = [self._nodes[vertex.digest] for vertex in graph.targets]
        self._wanted_at_end = {vertex.digest for vertex in graph.targets}
        self._ended: list[Vertex] = []
        self._needed: set[Digest] | None = None
        self._agenda: deque[Node] = deque()
        self._looked_at: dict[Digest, Node] = {}
        self._commands: list[Command] = []
        self._under_way = 0
        self._certain: list[Vertex] = []
        self._advances: Mapping[State, Callable[[Node], None]] = {
            State.NEW: self._advance_new,
            State.CONTENT: self._advance_content,
            State.INPUTS: self._advance_inputs,
            State.KNOWN: self._advance_known,
        }

    @property
    def done(self) -> bool:
        """Whether all targets are loaded, or failed."""
        return all(node.state in ENDS for node in self._targets)

    def take_ended(self) -> list[Vertex]:
        """Return the targets that have been loaded, or failed, since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def error_of(self, vertex: Vertex) -> PolyarchError | None:
        """Return what a vertex failed by, or something that it needs."""
        return self._nodes[vertex.digest].error

    def is_needed(self, vertex: Vertex) -> bool:
        """Whether a target that can still be had may need `vertex`."""
        return self._needed is None or vertex.digest in self._needed

    def take_certain(self) -> list[Vertex]:
        """Return the steps of which it has become certain, since the last call, that they will run."""
        certain, self._certain = self._certain, []
        return certain

    def state_of(self, vertex: Vertex) -> State:
        """Return how far `vertex` is."""
        return self._nodes[vertex.digest].state

    def identities(self) -> dict[Digest, str]:
        """Return the identities of all vertices that have one."""
        return {digest: node.identity for digest, node in self._nodes.items() if node.identity}

    def facts(self, vertex: Vertex) -> Facts:
        """Return what is known of `vertex` now; of those that `vertex` waited for, any thread may ask."""
        node = self._nodes[vertex.digest]
        parts = node.parts()
        return Facts(
            vertex=node.vertex,
            identity=node.identity,
            inputs=parts,
            keys=node.keys() if all(part.identity for part in parts) else (),
            record=node.record,
        )

    def start(self) -> list[Command]:
        """Return the first commands."""
        for node in self._targets:
            node.wanted = True
        self._agenda.extend(self._nodes.values())
        return self._dispatch()

    def handle(self, event: Event) -> list[Command]:
        """Take the answer to a command; return the commands that follow from it.

        Raises InternalError for an event that doesn't fit.
        """
        node = self._nodes[event.vertex.digest]
        node.under_way -= 1
        self._under_way -= 1
        if node.state is State.FAILED:
            return self._dispatch()  # several things were read for it
        after = _state_after(node, event)
        learn(node, event)
        self._move(node, after)
        return self._dispatch()

    def fail(self, vertex: Vertex, error: PolyarchError) -> list[Command]:
        """Take that a command met an error, and go on without the targets that need its vertex.

        Returns the commands that follow.
        """
        node = self._nodes[vertex.digest]
        node.under_way -= 1
        self._under_way -= 1
        return self.refuse(vertex, error)

    def refuse(self, vertex: Vertex, error: PolyarchError) -> list[Command]:
        """Go on without a vertex of which nothing is under way; otherwise as `fail`."""
        node = self._nodes[vertex.digest]
        if node.state is not State.FAILED:
            self._give_up(node, error)
        commands = self._dispatch()
        live = [each.vertex for each in self._targets if each.state is not State.FAILED]
        self._needed = {each.digest for each in walk(live)}
        return [each for each in commands if self.is_needed(each.vertex)]

    def _give_up(self, node: Node, error: PolyarchError) -> None:
        node.error = error
        self._move(node, State.FAILED)

    def _dispatch(self) -> list[Command]:
        while self._agenda:
            node = self._agenda.popleft()
            self._looked_at[node.vertex.digest] = node
            lacking = lacking_of(node)
            if lacking is not None:
                self._give_up(node, lacking)
                continue
            self._advances.get(node.state, self._rest)(node)
        self._check()
        commands, self._commands = self._commands, []
        return commands

    def _move(self, node: Node, state: State) -> None:
        node.state = state
        if state in ENDS and node.vertex.digest in self._wanted_at_end:
            self._ended.append(node.vertex)
        if state is State.INPUTS and node.inputs:
            self._certain.append(node.vertex)
        self._agenda.append(node)
        self._agenda.extend(node.users)

    def _command(self, node: Node, command: Command) -> None:
        node.under_way += 1
        self._under_way += 1
        self._commands.append(command)

    def _want(self, node: Node) -> None:
        if not node.wanted:
            node.wanted = True
            self._agenda.append(node)

    # One function for each state in which a vertex may go on by itself.

    def _rest(self, node: Node) -> None:
        """Do nothing: a command is under way, or all is done."""

    def _advance_new(self, node: Node) -> None:
        if not node.inputs:
            self._move(node, State.IDENTIFYING)
            self._command(node, Identify(vertex=node.vertex))
        elif all_known(node.inputs):
            key = None if node.ignore_cache else fast_key(node.vertex, node.parts())
            if key is None:
                self._move(node, State.CONTENT)
            else:
                self._move(node, State.FAST)
                ingredients = node.ingredients()
                query = Query(vertex=node.vertex, keys=(key,), ingredients=ingredients)
                self._command(node, query)

    def _advance_content(self, node: Node) -> None:
        for index in sorted(node.content - node.reading):
            self._want(node.inputs[index])
            if node.inputs[index].state is State.LOADED:
                node.reading.add(index)
                self._command(node, ReadContent(vertex=node.vertex, index=index))
        if len(node.contents) < len(node.content) or not all_known(node.inputs):
            return
        if node.ignore_cache or slow_key(node.vertex, node.parts()) is None:
            self._move(node, State.INPUTS)
            return
        vertex, keys, ingredients = node.vertex, node.keys(), node.ingredients()
        self._move(node, State.SLOW)
        if ingredients.is_whole:
            self._command(node, Query(vertex=vertex, keys=keys, ingredients=ingredients))
        else:
            self._command(node, Compare(vertex=vertex, keys=keys, ingredients=ingredients))

    def _advance_inputs(self, node: Node) -> None:
        if not node.inputs:
            self._move(node, State.RUNNING)
            self._command(node, Fetch(vertex=node.vertex))
            return
        for source in node.inputs:
            self._want(source)
        self._foresee(node)
        if any(source.state is not State.LOADED for source in node.inputs):
            return
        vertex, keys, ingredients = node.vertex, node.keys(), node.ingredients()
        recheck = not node.ignore_cache and node.found_in is not State.RUNNING
        self._move(node, State.RUNNING)
        self._command(node, Run(vertex=vertex, keys=keys, recheck=recheck, ingredients=ingredients))

    def _advance_known(self, node: Node) -> None:
        if node.wanted:
            stored = node.record.result if node.record else node.identity
            self._move(node, State.LOADING)
            self._command(node, Load(vertex=node.vertex, stored=stored, record=node.record))

    def _foresee(self, node: Node) -> None:
        """Want the images of steps that wait for `node`, which will run.

        Those steps have no key until then, but a record for a result that is only now being made is
        unlikely: the image is pulled meanwhile, not afterwards.
        """
        doomed = [node]
        while doomed:
            node = doomed.pop()
            if not node.foreseen:
                node.foreseen = True
                doomed.extend(user for user in node.users if user.state is State.NEW)
                if node.state is State.NEW:
                    for source in node.inputs:
                        if isinstance(source.vertex.op, ImageOp):
                            self._want(source)

    def _check(self) -> None:
        """Raise InternalError if something that was looked at stands still, or if all does."""
        for node in self._looked_at.values():
            if not moves(node):
                waits_for = [source.state.value for source in node.inputs]
                raise _bug(
                    f"nothing goes on for {_called(node)} in state {node.state}, inputs {waits_for}"
                )
        self._looked_at.clear()
        if not self._under_way and not self.done:
            raise _bug("nothing goes on at all, but the targets aren't done")


def _bug(what: str) -> InternalError:
    return InternalError(f"solver: {what}", hint="please report this with the Dockerfile")


def _called(node: Node) -> str:
    return repr(node.vertex.name or node.vertex.digest)


def _state_after(node: Node, event: Event) -> State:
    if node.state is State.LOADING and isinstance(event, Lost):
        return _AFTER_LOSS[node.found_in]
    after = _ON_EVENT.get((node.state, type(event)))
    if after is None:
        raise _bug(f"{type(event).__name__} doesn't fit {_called(node)} in state {node.state}")
    return after
