"""`version`."""

from __future__ import annotations

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Options
from polyarch.paths import stands_in_for_buildx
from polyarch.release import version_line

__all__ = ["VERSION"]


def _run(options: Options, context: Context) -> int:
    del options
    context.print(version_line(stands_in=stands_in_for_buildx(context.environ)))
    return 0


VERSION = Command(
    usage="",
    run=_run,
    example="$ polyarch version",
    flags=(Flag(name="builder", hidden=True),),
)
