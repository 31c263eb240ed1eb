"""What the nodes of builders are like at this moment: this machine, or daemons that are asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.buildkit.needs import require_grpc
from polyarch.emulation.advertised import local_platforms
from polyarch.errors import MachineError, PolyarchError
from polyarch.platforms import Platform
from polyarch.record import field, frozen
from polyarch.release import BUILDKIT_RELEASE
from polyarch.threads import side_by_side

__all__ = ["NodeState", "all_states", "states_of"]

_SECONDS = 20.0
_AT_ONCE = 16


@frozen
class NodeState:
    """A node: what it is (`running`, `inactive`, `stopped`, `error`), BuildKit's version, and its platforms.

    `labels` are told of daemons only; `error` says why there is no more to tell.
    """

    status: str = "inactive"
    version: str = ""
    platforms: tuple[Platform, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


def states_of(
    builder: SavedBuilder, environ: Mapping[str, str], seconds: float = _SECONDS
) -> dict[str, NodeState]:
    """Return the states of a builder's nodes by their names; daemons have `seconds` to answer."""
    return all_states((builder,), environ, seconds)[builder.name]


def _cluster_state(node: BuilderNode, seconds: float) -> NodeState:
    """Return what a cluster's scheduler says: its workers' platforms, and how many of them there are."""
    # Dask's library takes most of a second.
    from polyarch.cluster.asking import look_at  # noqa: PLC0415

    try:
        found = look_at(node, seconds)
    except PolyarchError as error:
        return NodeState(status="error", error=str(error))
    return NodeState(
        status="running" if found.platforms else "inactive",
        platforms=found.platforms,
        labels=found.labels,
    )


def all_states(
    builders: Iterable[SavedBuilder], environ: Mapping[str, str], seconds: float = _SECONDS
) -> dict[str, dict[str, NodeState]]:
    """Return the states of the nodes of several builders, by their names; all are asked at once."""
    found: dict[str, dict[str, NodeState]] = {}
    tasks = []

    def look(builder: SavedBuilder, node: BuilderNode) -> None:
        found[builder.name][node.name] = (
            _cluster_state(node, seconds)
            if builder.is_cluster
            else _daemon(builder, node, environ, seconds)
        )

    for builder in builders:
        states = found[builder.name] = {}
        for node in builder.nodes:
            if builder.is_local or (builder.is_remote and node.endpoint == LOCAL_ENDPOINT):
                platforms = local_platforms(environ)
                states[node.name] = NodeState(
                    status="running", version=BUILDKIT_RELEASE, platforms=platforms
                )
            elif builder.is_elsewhere:
                tasks.append(partial(look, builder, node))
            else:
                states[node.name] = NodeState()
    if tasks:
        side_by_side(tasks, _AT_ONCE, name="node")
    return found


def _daemon(
    builder: SavedBuilder, node: BuilderNode, environ: Mapping[str, str], seconds: float
) -> NodeState:
    try:
        # gRPC, and what it is made of.
        require_grpc()
    except MachineError as error:
        return NodeState(status="error", error=f"{error}: {error.hint}")
    try:
        from polyarch.buildkit.nodes import look_at  # noqa: PLC0415
        from polyarch.drivers.driver import Status  # noqa: PLC0415
        from polyarch.drivers.nodes import driver_of  # noqa: PLC0415

        driver = driver_of(builder, node, environ)
        status = driver.status()
        if status is not Status.RUNNING:
            return NodeState(status=status)
        found = look_at(driver.remote(), seconds or _SECONDS)
    except PolyarchError as error:
        return NodeState(status="error", error=str(error))
    unable = "inactive" if found.is_absent else "error"
    return NodeState(
        status=unable if found.error else "running",
        version=found.version,
        platforms=found.platforms,
        labels=found.labels,
        error=found.error,
    )
