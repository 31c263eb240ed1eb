"""The daemons of a builder, to be asked for what they keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.errors import InputError

if TYPE_CHECKING:
    from polyarch.buildkit.build import Remote

__all__ = ["daemons"]


def daemons(
    builder: SavedBuilder, environ: Mapping[str, str]
) -> tuple[tuple[BuilderNode, Remote], ...]:
    """Return the nodes that are daemons. Raises InputError without any, MachineError without gRPC's library."""
    # gRPC, and what it is made of.
    from polyarch.buildkit.needs import require_grpc  # noqa: PLC0415

    require_grpc()
    from polyarch.buildkit.nodes import remote_at  # noqa: PLC0415

    found = tuple(
        (node, remote_at(node.endpoint, node.driver_opts, environ))
        for node in builder.nodes
        if node.endpoint != LOCAL_ENDPOINT
    )
    if not found:
        raise InputError(
            f"builder {builder.name} has no node on another machine",
            hint="ask for this machine: --builder default",
        )
    return found
