"""The daemons of a builder, to be asked for what they keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.buildkit.needs import require_grpc
from polyarch.errors import InputError

if TYPE_CHECKING:
    from polyarch.buildkit.build import Remote

__all__ = ["daemons"]


def daemons(
    builder: SavedBuilder, environ: Mapping[str, str]
) -> tuple[tuple[BuilderNode, Remote], ...]:
    """Return the nodes that are daemons. Raises InputError without any, MachineError without gRPC's library."""
    # gRPC, and what it is made of.
    require_grpc()
    from polyarch.drivers.nodes import driver_of  # noqa: PLC0415

    found = tuple(
        (node, driver_of(builder, node, environ).remote())
        for node in builder.nodes
        if node.endpoint != LOCAL_ENDPOINT
    )
    if not found:
        raise InputError(
            f"builder {builder.name} has no node on another machine",
            hint="ask for this machine: --builder default",
        )
    return found
