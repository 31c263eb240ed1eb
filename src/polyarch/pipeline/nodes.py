"""A build on the nodes of a builder: each platform where it is native, and the parts together under one name.

A node is a BuildKit daemon, or this machine (endpoint `local`). Parts are pushed by their digests; the index that
joins them is made last, so that no name moves before all of it is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

from polyarch.builders.values import LOCAL_ENDPOINT, SavedBuilder
from polyarch.buildkit.build import ask_remotely, build_remotely
from polyarch.digest import Digest
from polyarch.drivers.inside import check_inside
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.errors import InputError
from polyarch.images.create import Asked, make, publish
from polyarch.images.names import Source, parse_name
from polyarch.images.places import open_places
from polyarch.pipeline.changed import is_pushed
from polyarch.pipeline.choosing import Nodes, Part, with_node_name
from polyarch.pipeline.reading import open_reading
from polyarch.pipeline.recorded import recorded_build
from polyarch.pipeline.taking import Taking
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink, step
from polyarch.record import frozen, replace
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType
from polyarch.threads import side_by_side

__all__ = [
    "Building",
    "ask_on_nodes",
    "build_on_nodes",
    "by_digest",
    "check_joinable",
    "joined",
    "of_platforms",
]

_T = TypeVar("_T")
_GATEWAY = "host-gateway"
_GATEWAYS = (f"={_GATEWAY}", f":{_GATEWAY}")
_GATEWAY_LABEL = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
"""By which the worker of Docker's engine tells the address that containers reach the engine's machine by."""


def build_on_nodes(
    engine: Engine,
    builder: SavedBuilder,
    request: BuildRequest,
    *,
    sink: Sink,
    cancel: CancelToken,
    explain: Explain | None = None,
) -> BuildResult:
    """Carry out a request on a builder's nodes.

    Raises MachineError where no node has a platform, InputError for outputs that can't be joined, and what builds raise.
    """
    nodes = Nodes.look_at(engine, builder, (request,), sink)
    building = Building(engine=engine, nodes=nodes, sink=sink, cancel=cancel, explain=explain)
    return building.whole(nodes.parts(request), request)


def ask_on_nodes(
    engine: Engine,
    builder: SavedBuilder,
    request: BuildRequest,
    question: str,
    *,
    sink: Sink,
    cancel: CancelToken,
) -> Mapping[str, bytes] | None:
    """Ask the first node that a request would be built on about its Dockerfile; None if that is this machine.

    Raises as `build_on_nodes`.
    """
    nodes = Nodes.look_at(engine, builder, (request,), sink)
    part = nodes.parts(request)[0]
    if part.node.endpoint == LOCAL_ENDPOINT:
        return None
    remote = nodes.drivers[part.node.name].remote()
    request = _with_dockerfile(engine, request, sink, cancel)
    return ask_remotely(remote, request, question, sink=sink, cancel=cancel)


def _with_gateway(request: BuildRequest, part: Part, driver: str) -> BuildRequest:
    """Return a request with the address that a node's steps reach its machine by, as only that knows it.

    Docker's engine tells; raises InputError for other daemons. This machine finds out by itself.
    """
    is_asked = any(each.endswith(_GATEWAYS) for each in request.add_hosts)
    if part.node.endpoint == LOCAL_ENDPOINT or not is_asked:
        return request
    address = part.labels.get(_GATEWAY_LABEL, "")
    if not address:
        raise InputError(
            "unable to derive the IP value for host-gateway: "
            f"host-gateway is not supported by the {driver} driver",
            hint="give the address that steps reach that machine by",
        )
    hosts = tuple(
        f"{each.removesuffix(_GATEWAY)}{address}" if each.endswith(_GATEWAYS) else each
        for each in request.add_hosts
    )
    return replace(request, add_hosts=hosts)


def _with_dockerfile(
    engine: Engine, request: BuildRequest, sink: Sink, cancel: CancelToken
) -> BuildRequest:
    """Return a request with the Dockerfile of a web server in it, since daemons take theirs from contexts. Raises as reading it."""
    if not request.dockerfile.startswith(("http://", "https://")):
        return request
    # Whatever the context is, it's none of what is read here.
    alone = replace(request, context=os.curdir)
    with open_reading(engine, alone, sink, cancel) as reading:
        text = reading.source().text
    return replace(request, dockerfile="-", stdin=text.encode("utf-8", "surrogateescape"))


@frozen
class Building:
    """What all parts are built with."""

    engine: Engine
    nodes: Nodes
    sink: Sink
    cancel: CancelToken
    explain: Explain | None = None

    def whole(self, parts: Sequence[Part], request: BuildRequest) -> BuildResult:
        """Build all parts of a request, and join them."""
        driver = self.nodes.builder.driver
        requests = {part.node.name: _with_gateway(request, part, driver) for part in parts}
        _tell_of_emulation(parts, self.sink)
        if len(parts) == 1:
            return self.part(parts[0], requests[parts[0].node.name])
        check_joinable(request.outputs)
        results: dict[str, BuildResult] = {}

        def build(part: Part) -> None:
            own = replace(self, sink=with_node_name(self.sink, part.node.name))
            wanted = by_digest(replace(requests[part.node.name], platforms=part.platforms))
            results[part.node.name] = of_platforms(own.part(part, wanted), part.platforms)

        # What one part fails with ends the others.
        tasks = [partial(build, part) for part in parts]
        side_by_side(tasks, len(tasks), name="node", on_failure=self.cancel.cancel)
        found = [results[part.node.name] for part in parts]
        return joined(self.engine, request, found, self.sink, self.cancel)

    def part(self, part: Part, request: BuildRequest) -> BuildResult:
        """Build one part on its node."""
        if part.node.endpoint == LOCAL_ENDPOINT:
            return recorded_build(
                self.engine, request, sink=self.sink, cancel=self.cancel, explain=self.explain
            )
        remote = self.nodes.drivers[part.node.name].remote()
        if remote.is_engine:
            check_inside(part.labels, request)
        request = _with_dockerfile(self.engine, request, self.sink, self.cancel)
        taking = Taking(engine=self.engine, sink=self.sink, cancel=self.cancel)
        return build_remotely(remote, request, sink=self.sink, cancel=self.cancel, take=taking.take)


def _tell_of_emulation(parts: Sequence[Part], sink: Sink) -> None:
    """Say which platforms no node has natively."""
    found = [(part.node.name, each) for part in parts for each in part.emulated]
    if not found:
        return
    with step(sink, "[internal] choosing nodes") as choosing:
        for name, platform in found:
            choosing.remark(f"{platform} is emulated on {name}: no node runs it natively")


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
