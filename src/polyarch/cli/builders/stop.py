"""`stop`: the daemons that were started for a builder; this machine leaves nothing running between builds."""

from __future__ import annotations

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import ELSEWHERE, require_local
from polyarch.buildkit.needs import require_grpc
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Options

__all__ = ["STOP"]


def _run(options: Options, context: Context) -> int:
    builders = SavedBuilders(context.environ)
    if options.arguments:
        builder = builders.get(options.arguments[0])
    else:
        builder = working_builder(context, builders, elsewhere=ELSEWHERE)
    if not builder.is_elsewhere:
        require_local(builder)
    if not builder.is_remote:
        return 0
    # gRPC, and what it is made of.
    require_grpc()
    from polyarch.cli.builders.driving import stop_all  # noqa: PLC0415

    stop_all(builder, context)
    return 0


STOP = Command(
    usage="[NAME]",
    run=_run,
    most=1,
    completes="builders",
    example="$ polyarch stop mybuilder",
    flags=(),
)
