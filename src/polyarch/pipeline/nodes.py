"""A build on the nodes of a builder: each platform where it is native, and the parts together under one name.

A node is a BuildKit daemon, or this machine (endpoint `local`). Parts are pushed by their digests; the index that
joins them is made last, so that no name moves before all of it is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.buildkit.build import build_remotely
from polyarch.buildkit.nodes import RemoteState, look_at
from polyarch.digest import Digest
from polyarch.drivers.driver import NodeDriver, Status
from polyarch.drivers.inside import check_inside
from polyarch.drivers.nodes import driver_of
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.errors import Cancelled, InputError, MachineError, PolyarchError
from polyarch.golang.strconv import find_bool
from polyarch.images.create import Asked, make, publish
from polyarch.images.names import Source, parse_name
from polyarch.images.places import open_places
from polyarch.pipeline.recorded import recorded_build
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Event, Sink, StepEvent, cancellable, step
from polyarch.record import field, frozen, replace
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType
from polyarch.threads import side_by_side

__all__ = [
    "Part",
    "assign",
    "build_on_nodes",
    "by_digest",
    "check_joinable",
    "is_pushed",
    "joined",
    "of_platforms",
    "with_node_name",
]

_T = TypeVar("_T")
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


def build_on_nodes(
    engine: Engine,
    builder: SavedBuilder,
    request: BuildRequest,
    *,
    sink: Sink,
    cancel: CancelToken,
    explain: Explain | None = None,
    key: str | None = None,
) -> BuildResult:
    """Carry out a request on a builder's nodes; of a node of several daemons, by the one for `key`, else for the context.

    Raises MachineError where no node has a platform, InputError for outputs that can't be joined, and what builds raise.
    """
    _check_hosts(request.add_hosts)
    key = os.path.abspath(request.context if key is None else key)
    drivers = {
        node.name: driver_of(builder, node, engine.environ, key=key)
        for node in builder.nodes
        if node.endpoint != LOCAL_ENDPOINT
    }
    states = _look_at_all(_wanted(builder, request.platforms), drivers, sink, cancel)
    parts = assign(builder, states, request.platforms or (_first_platform(builder, states),))
    _tell_of_emulation(parts, sink)
    building = _Building(engine=engine, drivers=drivers, sink=sink, cancel=cancel, explain=explain)
    if len(parts) == 1:
        return building.part(parts[0], request)
    check_joinable(request.outputs)
    results: dict[str, BuildResult] = {}

    def build(part: Part) -> None:
        own = replace(building, sink=with_node_name(sink, part.node.name))
        wanted = by_digest(replace(request, platforms=part.platforms))
        results[part.node.name] = of_platforms(own.part(part, wanted), part.platforms)

    # What one part fails with ends the others.
    tasks = [partial(build, part) for part in parts]
    side_by_side(tasks, len(tasks), name="node", on_failure=cancel.cancel)
    return joined(engine, request, [results[part.node.name] for part in parts], sink, cancel)


def _check_hosts(hosts: Sequence[str]) -> None:
    """Raise InputError for an address that only the machine of the steps has."""
    if any(each.endswith(("=host-gateway", ":host-gateway")) for each in hosts):
        raise InputError(
            "unable to derive the IP value for host-gateway: host-gateway is not supported by the remote driver",
            hint="give the address that steps reach that machine by",
        )


@frozen
class _Building:
    """What all parts are built with."""

    engine: Engine
    drivers: Mapping[str, NodeDriver]
    sink: Sink
    cancel: CancelToken
    explain: Explain | None

    def part(self, part: Part, request: BuildRequest) -> BuildResult:
        """Build one part on its node."""
        if part.node.endpoint == LOCAL_ENDPOINT:
            return recorded_build(
                self.engine, request, sink=self.sink, cancel=self.cancel, explain=self.explain
            )
        remote = self.drivers[part.node.name].remote()
        if remote.is_engine:
            check_inside(part.labels, request)
        return build_remotely(remote, request, sink=self.sink, cancel=self.cancel)


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
        try:
            # What is started may take minutes.
            with cancellable(cancel):
                if driver.status() is not Status.RUNNING:
                    driver.boot(with_node_name(sink, node.name) if len(nodes) > 1 else sink)
        except Cancelled:
            raise
        except PolyarchError as error:
            states[node.name] = RemoteState(error=str(error))
        else:
            states[node.name] = look_at(driver.remote())

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


def _tell_of_emulation(parts: Sequence[Part], sink: Sink) -> None:
    """Say which platforms no node has natively."""
    found = [(part.node.name, each) for part in parts for each in part.emulated]
    if not found:
        return
    with step(sink, "[internal] choosing nodes") as choosing:
        for name, platform in found:
            choosing.remark(f"{platform} is emulated on {name}: no node runs it natively")


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
        for rule in (_was_made_for, _is_native, _emulates):
            node = next(
                (
                    each
                    for each in builder.nodes
                    if _is_fit(rule, each, states.get(each.name, _UNASKED), platform)
                ),
                None,
            )
            if node is not None:
                break
        else:
            if len(builder.nodes) == 1:
                # There is no choice, and what needs no steps is built for any platform.
                chosen.setdefault(builder.nodes[0].name, []).append(platform)
                continue
            told = [state.error for state in states.values() if state.error]
            raise MachineError(
                f"no node of builder {builder.name} builds for {platform}"
                + (f": {'; '.join(told)}" if told else ""),
                hint=f"add one: polyarch create --append --name {builder.name} --platform {platform} ENDPOINT",
            )
        chosen.setdefault(node.name, []).append(platform)
        if rule is _emulates:
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


# --- joining ---


def check_joinable(outputs: Sequence[Output]) -> None:
    """Raise InputError for outputs of which parts can't be joined."""
    wanted = [output for output in outputs if output.type != OutputType.CACHEONLY]
    if len(wanted) > 1:
        raise InputError(
            "parts of several nodes can be joined for one output only",
            hint='name all images in one: -o type=image,"name=A,B",push=true',
        )
    for output in wanted:
        if not is_pushed(output):
            raise InputError(
                "parts of several nodes can only be joined at a registry",
                hint="push the image: --push, or build for one platform at a time",
            )


def is_pushed(output: Output) -> bool:
    """Tell whether an output is an image that goes to a registry."""
    return output.type == OutputType.REGISTRY or (
        output.type == OutputType.IMAGE and find_bool(output.attributes.get("push", "")) is True
    )


def by_digest(request: BuildRequest) -> BuildRequest:
    """Return the request of a part, which is pushed without a name."""
    outputs = tuple(
        replace(
            each,
            attributes={
                **each.attributes,
                "name": ",".join(dict.fromkeys(_repositories(each))),
                "push": "true",
                "push-by-digest": "true",
            },
        )
        if each.type != OutputType.CACHEONLY
        else each
        for each in request.outputs
    )
    return replace(request, outputs=outputs, tags=())


def _repositories(output: Output) -> list[str]:
    names = filter(None, output.attributes.get("name", "").split(","))
    return [str(parse_name(each).short) for each in names]


def joined(
    engine: Engine,
    request: BuildRequest,
    results: Sequence[BuildResult],
    sink: Sink,
    cancel: CancelToken,
) -> BuildResult:
    """Give the parts one index under all names. Raises RegistryError."""
    pushed = [each for each in request.outputs if each.type != OutputType.CACHEONLY]
    names = [name for output in pushed for name in output.attributes.get("name", "").split(",")]
    digests: list[Digest] = [result.digest for result in results]
    with open_places(engine.environ, cancel) as places:
        for name in map(parse_name, dict.fromkeys(filter(None, names))):
            sources = tuple(Source(name=name.with_digest(digest)) for digest in digests)
            asked = Asked(sources=sources, names=(name,))
            made = make(asked, places)
            publish(asked, made, places, sink, cancel)
    return replace(
        results[0],
        descriptor=made.descriptor,
        config_digest=None,
        names=tuple(dict.fromkeys(names)),
        manifests=_together(result.manifests for result in results),
        sizes=_together(result.sizes for result in results),
        emulators=_together(result.emulators for result in results),
        provenance=_together(result.provenance for result in results),
        explanations=tuple(chain.from_iterable(result.explanations for result in results)),
        emulated=tuple(chain.from_iterable(result.emulated for result in results)),
        ref=request.ref,
        ran=sum(result.ran for result in results),
        cached=sum(result.cached for result in results),
    )


def _together(parts: Iterable[Mapping[str, _T]]) -> dict[str, _T]:
    return {name: value for part in parts for name, value in part.items()}


def of_platforms(result: BuildResult, platforms: Sequence[Platform]) -> BuildResult:
    """Return a part's result as part of a larger one: what a single platform has without a name gets that of the platform."""
    if len(platforms) != 1:
        return result
    provenance = {name or str(platforms[0]): text for name, text in result.provenance.items()}
    return replace(result, provenance=provenance)
