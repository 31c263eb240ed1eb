"""Daemons of a builder's nodes, started, stopped and removed for a command."""

from __future__ import annotations

from functools import partial

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.buildkit.nodes import look_at
from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Context
from polyarch.drivers.driver import NodeDriver, Status
from polyarch.drivers.nodes import driver_of
from polyarch.errors import MachineError, PolyarchError
from polyarch.threads import side_by_side

__all__ = ["boot_all", "check_nodes", "remove_all", "stop_all"]


def check_nodes(builder: SavedBuilder, context: Context) -> None:
    """Raise MachineError for nodes whose options their driver doesn't have, and engines that don't answer."""
    for node in builder.nodes:
        try:
            for driver in _drivers(builder, context, node):
                driver.check()
        except PolyarchError as error:
            raise MachineError(
                f"failed to initialize builder {builder.name} ({node.name}): {error}",
                hint=error.hint,
            ) from error


def boot_all(builder: SavedBuilder, context: Context, *, asks: bool = True) -> None:
    """Start what doesn't run, and show that. Raises PolyarchError.

    With `asks` daemons that somebody else starts are called, and waited for if nobody listens there.
    """
    drivers = [driver for node in builder.nodes for driver in _drivers(builder, context, node)]
    waiting = [
        each
        for each in drivers
        if each.status() is not Status.RUNNING or (asks and look_at(each.remote()).is_absent)
    ]
    if not waiting:
        return
    display = open_display(
        context.environ.get("BUILDKIT_PROGRESS", ""),
        stream=context.stderr,
        environ=context.environ,
        debug=context.debug,
    )
    with display:
        side_by_side([partial(each.boot, display) for each in waiting], len(waiting), name="boot")


def stop_all(builder: SavedBuilder, context: Context) -> None:
    """Stop what runs and was started for the builder. Raises PolyarchError."""
    for node in builder.nodes:
        for driver in _drivers(builder, context, node):
            driver.stop()


def remove_all(builder: SavedBuilder, context: Context, *, keeps_state: bool) -> None:
    """Remove the daemons of all nodes, as far as that goes. Raises MachineError for what didn't."""
    troubles = []
    for node in builder.nodes:
        try:
            for driver in _drivers(builder, context, node):
                driver.stop()
                driver.remove(keeps_state=keeps_state)
        except PolyarchError as error:
            troubles.append(f"failed to remove node {node.name}: {error}")
    if troubles:
        raise MachineError("\n".join(troubles))


def _drivers(builder: SavedBuilder, context: Context, node: BuilderNode) -> tuple[NodeDriver, ...]:
    """Return what runs the daemon of a node; nothing for this machine."""
    if node.endpoint == LOCAL_ENDPOINT:
        return ()
    return (driver_of(builder, node, context.environ),)
