"""What the nodes of builders are like at this moment: this machine, or daemons that are asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.emulation.advertised import local_platforms
from polyarch.errors import PolyarchError
from polyarch.platforms import Platform
from polyarch.record import field, frozen
from polyarch.release import BUILDKIT_RELEASE

__all__ = ["NodeState", "states_of"]

_SECONDS = 20.0


@frozen
class NodeState:
    """A node: what it is (`running`, `inactive`, `error`), BuildKit's version, and its platforms.

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
    if not builder.is_usable:
        return {node.name: NodeState() for node in builder.nodes}
    return dict(_states(builder, environ, seconds))


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


def _states(
    builder: SavedBuilder, environ: Mapping[str, str], seconds: float
) -> Iterable[tuple[str, NodeState]]:
    for node in builder.nodes:
        if builder.is_cluster:
            yield node.name, _cluster_state(node, seconds)
            continue
        if builder.is_local or node.endpoint == LOCAL_ENDPOINT:
            platforms = local_platforms(environ)
            yield (
                node.name,
                NodeState(status="running", version=BUILDKIT_RELEASE, platforms=platforms),
            )
            continue
        try:
            # gRPC, and what it is made of.
            from polyarch.buildkit.needs import require_grpc  # noqa: PLC0415

            require_grpc()
            from polyarch.buildkit.nodes import look_at, remote_at  # noqa: PLC0415

            found = look_at(remote_at(node.endpoint, node.driver_opts, environ), seconds)
        except PolyarchError as error:
            yield node.name, NodeState(status="error", error=str(error))
            continue
        yield (
            node.name,
            NodeState(
                status="error" if found.error else "running",
                version=found.version,
                platforms=found.platforms,
                labels=found.labels,
                error=found.error,
            ),
        )
