"""Which builder carries out a command: the one that is named, the current one, or this machine's."""

from __future__ import annotations

from collections.abc import Collection

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import CONTAINER_DRIVER, DEFAULT_NAME, SavedBuilder, require_local
from polyarch.cli.frame.command import Context

__all__ = ["working_builder"]

_INSTEAD = (
    'WARNING: {origin} "{name}" has the driver {driver}, {reason}: '
    "this machine does the work ({advice})"
)


def working_builder(
    context: Context, builders: SavedBuilders, *, elsewhere: Collection[str] = ()
) -> SavedBuilder:
    """Return the builder that does the work, which is one of this machine unless it has one of the drivers `elsewhere`.

    Who names another one by `--builder` wants that and no other: raises MachineError; NotFound for a
    name that nobody has. What can't be used, and was chosen earlier or stands in the environment for all
    calls, was chosen for docker buildx: this machine stands in for it, which is said in one line. So it does for
    containers of BuildKit that were chosen with docker buildx.
    """
    builder = builders.get(context.builder)
    if builder.driver in elsewhere and _is_meant(builder, context, builders):
        return builder
    if context.builder:
        require_local(builder)
    if builder.is_local:
        return builder
    variable = context.environ.get("BUILDX_BUILDER", "")
    reason = "which polyarch can't use yet"
    origin, advice = "the current builder", f'"{context.program} use default" settles that'
    if variable:
        origin, advice = "BUILDX_BUILDER's", "BUILDX_BUILDER=default settles that"
    if builder.driver in elsewhere:
        reason = "and was chosen with docker buildx"
        advice = f'"{context.program} use {builder.name}" has it used, {advice}'
    elif builder.is_elsewhere:
        reason = "which polyarch can't ask for that"
    context.warn(
        _INSTEAD.format(
            origin=origin, name=builder.name, driver=builder.driver, reason=reason, advice=advice
        )
    )
    return builders.get(DEFAULT_NAME)


def _is_meant(builder: SavedBuilder, context: Context, builders: SavedBuilders) -> bool:
    """Tell whether a builder of other machines was chosen to be used by polyarch."""
    is_named = bool(context.builder or context.environ.get("BUILDX_BUILDER"))
    return is_named or builder.driver != CONTAINER_DRIVER or builders.is_own_choice()
