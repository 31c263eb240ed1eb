"""A build request to the engine, shown while it is carried out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from polyarch.builders.values import SavedBuilder
from polyarch.buildkit.needs import require_grpc
from polyarch.cli.building.prefixes import solving
from polyarch.cli.display.base import Display
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cluster.needs import require_dask
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.errors import InputError
from polyarch.pipeline.company import ALONE, Company
from polyarch.pipeline.recorded import recorded_build
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen
from polyarch.request.explanation import Explanation
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

if TYPE_CHECKING:
    from polyarch.debugger.hands import Debugger

__all__ = ["Wishes", "solve"]


@frozen
class Wishes:
    """What is wanted beside the result: below all progress why steps ran, and first of all whether it can be reproduced.

    `builder` has other nodes than this machine, if it isn't None. `debugger` goes along, if there is one.
    """

    explains: bool = False
    verifies: bool = False
    builder: SavedBuilder | None = None
    debugger: Debugger | None = None


def solve(
    engine: Engine, request: BuildRequest, context: Context, display: Display, wishes: Wishes
) -> BuildResult:
    """Carry out a request, with what else is to be said of it."""
    told: list[tuple[Explanation, ...]] = []
    said: list[str] = []
    with ExitStack() as stack:
        stack.callback(_say, said, context)
        if wishes.explains:
            stack.callback(_explain, told, context)
        cancel = stack.enter_context(cancel_on_signals())
        stack.enter_context(display)
        if wishes.verifies:
            # Twice as long as a build takes: nobody waits for a module.
            from polyarch.cli.building.reproducible import check_reproducible  # noqa: PLC0415

            check_reproducible(engine, request, display, cancel, said.append)
        stack.enter_context(solving())
        if wishes.debugger is not None:
            wishes.debugger.attend(cancel)
        explaining = Explain(live=wishes.explains, number=display.number, tell=told.append)
        if wishes.builder is not None and wishes.builder.is_cluster:
            if wishes.debugger is not None:
                raise InputError(
                    "builds of a Dask cluster can't be debugged",
                    hint="debug on this machine: --builder default",
                )
            # Dask, which takes most of a second.
            require_dask()
            from polyarch.cluster.build import build_on_cluster  # noqa: PLC0415

            return build_on_cluster(
                engine, wishes.builder.nodes[0], request, sink=display, cancel=cancel
            )
        if wishes.builder is not None:
            return _on_nodes(
                engine,
                wishes.builder,
                request,
                debugger=wishes.debugger,
                sink=display,
                cancel=cancel,
                explain=explaining,
            )
        return recorded_build(
            engine,
            request,
            sink=display,
            cancel=cancel,
            explain=explaining,
            company=_company(wishes.debugger, request),
        )


def _on_nodes(
    engine: Engine,
    builder: SavedBuilder,
    request: BuildRequest,
    *,
    debugger: Debugger | None,
    sink: Sink,
    cancel: CancelToken,
    explain: Explain,
) -> BuildResult:
    """Carry out a request on the nodes of a builder, with a debugger if there is one."""
    # gRPC, and what it is made of.
    require_grpc()
    from polyarch.pipeline.nodes import build_on_nodes  # noqa: PLC0415

    beside = None
    if debugger is not None:
        from polyarch.debugger.daemons import Watched, beside_of  # noqa: PLC0415 as above

        sink = watched = Watched(sink)
        beside = beside_of(debugger, watched)
    return build_on_nodes(
        engine, builder, request, sink=sink, cancel=cancel, explain=explain, beside=beside
    )


def _company(debugger: Debugger | None, request: BuildRequest) -> Company:
    if debugger is None:
        return ALONE
    # For those who debug.
    from polyarch.debugger.own import DebuggedCompany  # noqa: PLC0415

    return DebuggedCompany(debugger, request)


def _say(lines: Sequence[str], context: Context) -> None:
    for line in lines:
        context.warn(line)


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
