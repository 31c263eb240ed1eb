"""Clusters as nodes of a builder: what there is behind the address of a scheduler."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.builders.values import BuilderNode
from polyarch.cluster.address import parse_cluster
from polyarch.cluster.needs import require_dask
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["ClusterState", "look_at"]


@frozen
class ClusterState:
    """A cluster as its scheduler describes it: the platforms of its workers, and these by their names."""

    platforms: tuple[Platform, ...]
    labels: Mapping[str, str]


def look_at(node: BuilderNode, seconds: float) -> ClusterState:
    """Ask a scheduler who its workers are; it has `seconds` to answer. Raises MachineError."""
    cluster = parse_cluster(node.endpoint, node.driver_opts)
    require_dask()
    from polyarch.cluster.scheduler import connected  # noqa: PLC0415 after it is known to be there

    with connected(cluster, seconds) as scheduler:
        workers = scheduler.workers()
    platforms = dict.fromkeys(each for worker in workers for each in worker.platforms)
    labels = {
        f"worker.{worker.name}": ", ".join(
            f"{each}={count:g}" for each, count in worker.platforms.items()
        )
        for worker in workers
    }
    return ClusterState(platforms=tuple(platforms), labels=labels)
