"""A build on the nodes of a builder: each platform where it is native, and the parts together under one name.

A node is a BuildKit daemon, or this machine (endpoint `local`). Parts are pushed by their digests; the index that
joins them is made last, so that no name moves before all of it is there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from polyarch.builders.values import DOCKER_DRIVER, LOCAL_ENDPOINT, SavedBuilder
from polyarch.buildkit.build import ask_remotely, build_remotely
from polyarch.buildkit.contexts import Offered
from polyarch.buildkit.gateway import Gateway, Solved
from polyarch.buildkit.work import Asked, Remote, Steer
from polyarch.drivers.inside import check_inside
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.errors import InputError, PolyarchError
from polyarch.pipeline.choosing import Nodes, Part, with_node_name
from polyarch.pipeline.company import ALONE, Company
from polyarch.pipeline.frontend import is_read_here, own_frontend
from polyarch.pipeline.guarding import guarding
from polyarch.pipeline.parts import (
    Joining,
    by_digest,
    check_joinable,
    check_sealable,
    of_platforms,
)
from polyarch.pipeline.reading import open_reading
from polyarch.pipeline.recorded import recorded_build
from polyarch.pipeline.sealing import sealing
from polyarch.pipeline.separating import Separating
from polyarch.pipeline.taking import Taking
from polyarch.platforms import host
from polyarch.progress import CancelToken, Sink, step
from polyarch.record import frozen, replace
from polyarch.request.ref import new_ref
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest
from polyarch.threads import side_by_side

__all__ = [
    "Beside",
    "Building",
    "NoGraph",
    "ask_on_nodes",
    "build_on_nodes",
]

_GATEWAY = "host-gateway"
_GATEWAYS = (f"={_GATEWAY}", f":{_GATEWAY}")
_GATEWAY_LABEL = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
"""By which the worker of Docker's engine tells the address that containers reach the engine's machine by."""


class NoGraph(PolyarchError):
    """A daemon's frontend doesn't tell of the graph that it makes."""


@frozen
class Beside:
    """What goes along with a request: the company of a part that is built here, and what is put around that which asks a daemon.

    `around` is given the request of the part and the daemon's address. What it returns may raise NoGraph; then the
    Dockerfile is read here.
    """

    company: Callable[[BuildRequest], Company]
    around: Callable[[BuildRequest, str, Steer], Steer]


def build_on_nodes(
    engine: Engine,
    builder: SavedBuilder,
    request: BuildRequest,
    *,
    sink: Sink,
    cancel: CancelToken,
    explain: Explain | None = None,
    beside: Beside | None = None,
) -> BuildResult:
    """Carry out a request on a builder's nodes, with what goes along with it.

    Raises MachineError where no node has a platform, InputError for outputs that can't be joined, and what builds raise.
    """
    nodes = Nodes.look_at(engine, builder, (request,), request.context, sink, cancel)
    building = Building(
        engine=engine, nodes=nodes, sink=sink, cancel=cancel, explain=explain, beside=beside
    )
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
    """Ask the first node that a request would be built on about its Dockerfile; None if this machine is to answer.

    Raises as `build_on_nodes`.
    """
    nodes = Nodes.look_at(engine, builder, (request,), request.context, sink, cancel)
    part = nodes.parts(request)[0]
    if part.node.endpoint == LOCAL_ENDPOINT or is_read_here(engine.environ):
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


def _plainly(_part: Part) -> Steer | None:
    """Have a daemon build a part without a gateway."""
    return None


async def _asked(gateway: Gateway, asked: Asked) -> Solved:
    """Ask a daemon's frontend what a plain build would ask it."""
    return await gateway.solve(asked.frontend, asked.attributes, {})


@frozen
class Building:
    """What all parts are built with; `steer` asks the frontend of a part's daemon, if it's not to be asked plainly."""

    engine: Engine
    nodes: Nodes
    sink: Sink
    cancel: CancelToken
    explain: Explain | None = None
    steer: Callable[[Part], Steer | None] = _plainly
    beside: Beside | None = None

    def whole(self, parts: Sequence[Part], request: BuildRequest) -> BuildResult:
        """Build all parts of a request, join them, and sign what that makes before it has a name."""
        driver = self.nodes.builder.driver
        if request.signing and driver == DOCKER_DRIVER:
            raise InputError(
                "--sign isn't possible with the docker driver, which can't push what has no name yet",
                hint="push it, then sign it: polyarch sign NAME",
            )
        seal = sealing(request, self.engine.environ, self.cancel)
        joining = Joining(engine=self.engine, sink=self.sink, cancel=self.cancel, seal=seal)
        request = replace(request, signing=())
        requests = {part.node.name: _with_gateway(request, part, driver) for part in parts}
        _tell_of_emulation(parts, self.sink)
        if len(parts) == 1:
            return self._alone(parts[0], requests[parts[0].node.name], joining)
        check_joinable(request.outputs)
        with tempfile.TemporaryDirectory(prefix="polyarch-") as scratch:
            separating = Separating(Path(scratch))
            wanted = {
                part.node.name: separating.part(
                    by_digest(replace(requests[part.node.name], platforms=part.platforms)),
                    part.platforms,
                )
                for part in parts
            }
            found = self._side_by_side(parts, wanted)
            separating.join(request)
        return joining.joined(request, found)

    def _alone(self, part: Part, request: BuildRequest, joining: Joining) -> BuildResult:
        """Build what a single node builds; what is to be signed gets its names when it is."""
        if joining.seal is None:
            return self.part(part, request)
        check_sealable(request.outputs)
        return joining.named(request, self.part(part, by_digest(request)))

    def _side_by_side(
        self, parts: Sequence[Part], requests: Mapping[str, BuildRequest]
    ) -> list[BuildResult]:
        results: dict[str, BuildResult] = {}

        def build(part: Part) -> None:
            own = replace(self, sink=with_node_name(self.sink, part.node.name))
            result = own.part(part, requests[part.node.name])
            results[part.node.name] = of_platforms(result, part.platforms)

        # What one part fails with ends the others.
        tasks = [partial(build, part) for part in parts]
        side_by_side(tasks, len(tasks), name="node", on_failure=self.cancel.cancel)
        return [results[part.node.name] for part in parts]

    def part(self, part: Part, request: BuildRequest) -> BuildResult:
        """Build one part on its node."""
        if part.node.endpoint == LOCAL_ENDPOINT:
            return recorded_build(
                self.engine,
                request,
                sink=self.sink,
                cancel=self.cancel,
                explain=self.explain,
                company=self.beside.company(request) if self.beside is not None else ALONE,
            )
        remote = self.nodes.drivers[part.node.name].remote()
        if remote.is_engine:
            check_inside(part.labels, request)
        steer = self.steer(part)
        if steer is None and is_read_here(self.engine.environ):
            return self._read_here(remote, part, request)
        here = request
        request = _with_dockerfile(self.engine, request, self.sink, self.cancel)
        if self.beside is None:
            return self._remotely(remote, request, steer)
        try:
            around = self.beside.around(request, remote.address, steer or _asked)
            return self._remotely(remote, request, around)
        except NoGraph:
            # A daemon knows what it has told of a build by its ref.
            ref = new_ref(self.nodes.builder.name, part.node.name)
            return self._read_here(remote, part, replace(here, ref=ref))

    def _read_here(self, remote: Remote, part: Part, request: BuildRequest) -> BuildResult:
        """Give a daemon graphs in place of a Dockerfile."""
        own = (*self.nodes.states[part.node.name].platforms, host())[0]
        with own_frontend(self.engine, request, own, self.sink, self.cancel) as frontend:
            steer: Steer = frontend.steer
            if self.beside is not None:
                steer = self.beside.around(request, remote.address, steer)
            return self._remotely(remote, request, steer, frontend)

    def _remotely(
        self,
        remote: Remote,
        request: BuildRequest,
        steer: Steer | None,
        offered: Offered | None = None,
    ) -> BuildResult:
        taking = Taking(engine=self.engine, sink=self.sink, cancel=self.cancel)
        with guarding(self.engine, request, remote, self.sink, self.cancel) as policy:
            result = build_remotely(
                remote,
                request,
                sink=self.sink,
                cancel=self.cancel,
                take=taking.take,
                steer=steer,
                offered=offered,
                policy=policy,
            )
        if remote.is_engine or result.config_digest is None:
            return result
        return replace(result, is_loaded_whole=taking.has_whole(request.outputs))


def _tell_of_emulation(parts: Sequence[Part], sink: Sink) -> None:
    """Say which platforms no node has natively."""
    found = [(part.node.name, each) for part in parts for each in part.emulated]
    if not found:
        return
    with step(sink, "[internal] choosing nodes") as choosing:
        for name, platform in found:
            choosing.remark(f"{platform} is emulated on {name}: no node runs it natively")
