"""`stop`: for scripts that end with it; a builder of this machine leaves nothing running between builds."""

from __future__ import annotations

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import require_local
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Options

__all__ = ["STOP"]


def _run(options: Options, context: Context) -> int:
    builders = SavedBuilders(context.environ)
    if options.arguments:
        require_local(builders.get(options.arguments[0]))
    else:
        working_builder(context, builders)
    return 0


STOP = Command(
    usage="[NAME]",
    run=_run,
    most=1,
    completes="builders",
    example="$ polyarch stop mybuilder",
    flags=(),
)
