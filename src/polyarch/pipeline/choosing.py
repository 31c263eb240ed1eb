"""Which nodes of a builder build which platforms: those that answer are asked what they are, and each platform is given to one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.buildkit.nodes import RemoteState, look_at
from polyarch.drivers.driver import NodeDriver, Status
from polyarch.drivers.nodes import driver_of
from polyarch.engine.engine import Engine
from polyarch.errors import Cancelled, MachineError, PolyarchError
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Event, Sink, StepEvent, cancellable
from polyarch.record import field, frozen, replace
from polyarch.request.values import BuildRequest
from polyarch.threads import side_by_side

__all__ = ["Nodes", "Part", "assign", "with_node_name"]

_FAMILIES = {"386": "amd64", "arm": "arm64"}
"""Architectures whose programs another one runs as well."""
_UNASKED = RemoteState()
Rule = Callable[[BuilderNode, RemoteState, Platform], bool]


@frozen
class Part:
    """The platforms of a request that one node builds."""

    node: BuilderNode
    platforms: tuple[Platform, ...]
    emulated: tuple[Platform, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@frozen
class Nodes:
    """The nodes of a builder that requests may be carried out on, as they answered."""

    builder: SavedBuilder
    drivers: Mapping[str, NodeDriver]
    states: dict[str, RemoteState]

    @classmethod
    def look_at(
        cls,
        engine: Engine,
        builder: SavedBuilder,
        requests: Iterable[BuildRequest],
        key: str,
        sink: Sink,
        cancel: CancelToken,
    ) -> Nodes:
        """Start those that don't run, and ask all what they are, as far as the requests want them.

        Where a node is several daemons, the same one does all work for the directory `key`. Raises MachineError if none
        answers, and Cancelled.
        """
        key = os.path.abspath(key)
        platforms: list[Platform] = []
        takes_any = False
        for request in requests:
            platforms += request.platforms
            takes_any = takes_any or not request.platforms
        drivers = {
            node.name: driver_of(builder, node, engine.environ, key=key)
            for node in builder.nodes
            if node.endpoint != LOCAL_ENDPOINT
        }
        wanted = builder if takes_any else _wanted(builder, platforms)
        return cls(
            builder=builder, drivers=drivers, states=_look_at_all(wanted, drivers, sink, cancel)
        )

    def is_one_daemon(self, node: BuilderNode) -> bool:
        """Tell whether all that a node is asked for reaches the same daemon; this machine is none."""
        driver = self.drivers.get(node.name)
        return driver is not None and not driver.remote().is_spread

    def parts(self, request: BuildRequest) -> list[Part]:
        """Choose nodes for a request. Raises MachineError where no node has a platform."""
        platforms = request.platforms or (_first_platform(self.builder, self.states),)
        return assign(self.builder, self.states, platforms)


def _wanted(builder: SavedBuilder, platforms: Sequence[Platform]) -> SavedBuilder:
    """Return a builder without the nodes that needn't even be looked at: if all platforms were given to others."""
    wanted = [normalize(each) for each in platforms]
    made_for = [node for node in builder.nodes if set(wanted) & set(map(normalize, node.platforms))]
    given = {normalize(each) for node in made_for for each in node.platforms}
    return replace(builder, nodes=tuple(made_for)) if wanted and given >= set(wanted) else builder


def _look_at_all(
    builder: SavedBuilder, drivers: Mapping[str, NodeDriver], sink: Sink, cancel: CancelToken
) -> dict[str, RemoteState]:
    """Start the nodes that don't run, and ask all what they are. Raises MachineError if none answers."""
    nodes = [node for node in builder.nodes if node.endpoint != LOCAL_ENDPOINT]
    states: dict[str, RemoteState] = {}

    def look(node: BuilderNode) -> None:
        driver = drivers[node.name]
        own = with_node_name(sink, node.name) if len(nodes) > 1 else sink
        try:
            # What is started may take minutes.
            with cancellable(cancel):
                states[node.name] = _look_at(driver, own)
        except Cancelled:
            raise
        except PolyarchError as error:
            states[node.name] = RemoteState(error=str(error))

    tasks = [partial(look, node) for node in nodes]
    if tasks:
        side_by_side(tasks, len(tasks), name="node")
    for node in builder.nodes:
        if node.endpoint == LOCAL_ENDPOINT:
            states[node.name] = RemoteState(platforms=(host(),))
    if all(state.error for state in states.values()):
        raise MachineError(
            "; ".join(state.error for state in states.values()),
            hint=f"polyarch inspect {builder.name} tells of all nodes",
        )
    return states


def _look_at(driver: NodeDriver, sink: Sink) -> RemoteState:
    if driver.status() is not Status.RUNNING:
        driver.boot(sink)
    state = look_at(driver.remote())
    if not state.is_absent:
        return state
    driver.boot(sink)
    return look_at(driver.remote())


def _first_platform(builder: SavedBuilder, states: dict[str, RemoteState]) -> Platform:
    for node in builder.nodes:
        state = states.get(node.name, _UNASKED)
        if not state.error and (node.platforms or state.platforms):
            return (*node.platforms, *state.platforms)[0]
    return host()


def assign(
    builder: SavedBuilder, states: dict[str, RemoteState], platforms: Sequence[Platform]
) -> list[Part]:
    """Choose a node for each platform: one that was made for it, else a native one, else one that emulates it.

    A single node gets all. Parts are in the order of the nodes. Raises MachineError for a platform that none of several nodes has.
    """
    chosen: dict[str, list[Platform]] = {}
    emulated: dict[str, list[Platform]] = {}
    for platform in map(normalize, platforms):
        node, is_emulated = _choose(builder, states, platform)
        chosen.setdefault(node.name, []).append(platform)
        if is_emulated:
            emulated.setdefault(node.name, []).append(platform)
    return [
        Part(
            node=node,
            platforms=tuple(chosen[node.name]),
            emulated=tuple(emulated.get(node.name, ())),
            labels=states.get(node.name, _UNASKED).labels,
        )
        for node in builder.nodes
        if node.name in chosen
    ]


def _choose(
    builder: SavedBuilder, states: Mapping[str, RemoteState], platform: Platform
) -> tuple[BuilderNode, bool]:
    """Return the node for a platform, and whether it emulates that. Raises MachineError if none of several has it."""
    for rule in (_was_made_for, _is_native, _emulates):
        for node in builder.nodes:
            if _is_fit(rule, node, states.get(node.name, _UNASKED), platform):
                return node, rule is _emulates
    if len(builder.nodes) == 1:
        # There is no choice, and what needs no steps is built for any platform.
        return builder.nodes[0], False
    told = [state.error for state in states.values() if state.error]
    raise MachineError(
        f"no node of builder {builder.name} builds for {platform}"
        + (f": {'; '.join(told)}" if told else ""),
        hint=f"add one: polyarch create --append --name {builder.name} --platform {platform} ENDPOINT",
    )


def _is_fit(rule: Rule, node: BuilderNode, state: RemoteState, platform: Platform) -> bool:
    return not state.error and rule(node, state, platform)


def _was_made_for(node: BuilderNode, _state: RemoteState, platform: Platform) -> bool:
    return platform in map(normalize, node.platforms)


def _is_native(node: BuilderNode, state: RemoteState, platform: Platform) -> bool:
    if node.platforms or not state.platforms:
        return False
    own = state.platforms[0].architecture
    return own in {platform.architecture, _FAMILIES.get(platform.architecture, "")}


def _emulates(node: BuilderNode, state: RemoteState, platform: Platform) -> bool:
    return node.endpoint == LOCAL_ENDPOINT or platform in state.platforms


def with_node_name(sink: Sink, name: str) -> Sink:
    """Return a sink that puts a node's name before those of its steps, as buildx does."""

    def take(event: Event) -> None:
        if isinstance(event, StepEvent):
            shown = event.name
            shown = f"[{name} {shown[1:]}" if shown.startswith("[") else f"[{name}] {shown}"
            event = replace(event, name=shown)
        sink(event)

    return take
