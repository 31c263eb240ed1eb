"""A build request to the engine, shown while it is carried out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from polyarch.builders.values import SavedBuilder
from polyarch.cli.building.prefixes import solving
from polyarch.cli.display.base import Display
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.pipeline.recorded import recorded_build
from polyarch.request.explanation import Explanation
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

__all__ = ["solve"]


def solve(
    engine: Engine,
    request: BuildRequest,
    context: Context,
    display: Display,
    *,
    explain: bool,
    builder: SavedBuilder | None = None,
) -> BuildResult:
    """Carry out a request; with `explain` it is said below all progress why steps ran.

    `builder` has other nodes than this machine.
    """
    told: list[tuple[Explanation, ...]] = []
    with ExitStack() as stack:
        if explain:
            stack.callback(_explain, told, context)
        cancel = stack.enter_context(cancel_on_signals())
        stack.enter_context(display)
        stack.enter_context(solving())
        explaining = Explain(live=explain, number=display.number, tell=told.append)
        if builder is not None:
            # gRPC, and what it is made of.
            from polyarch.buildkit.needs import require_grpc  # noqa: PLC0415

            require_grpc()
            from polyarch.pipeline.nodes import build_on_nodes  # noqa: PLC0415

            return build_on_nodes(
                engine, builder, request, sink=display, cancel=cancel, explain=explaining
            )
        return recorded_build(engine, request, sink=display, cancel=cancel, explain=explaining)


def _explain(told: Sequence[tuple[Explanation, ...]], context: Context) -> None:
    """Say why steps ran, whether the build ended well or not."""
    # For those who ask only: the room of the reasons takes 2 ms.
    from polyarch.cli.building.explained import explained_lines  # noqa: PLC0415

    if not told:
        return  # the build didn't get as far as its steps
    steps = [each for each in told[-1] if each.causes]
    context.warn("\nWhy steps ran:" if steps else "\nEvery step was cached.")
    for line in explained_lines(steps):
        context.warn(line)
