"""`version`."""

from __future__ import annotations

from polyarch import __version__
from polyarch.cli.command import Command, Context
from polyarch.cli.options import Flag, Options

__all__ = ["RELEASE", "VERSION", "version_line"]

RELEASE = f"v{__version__}"


def version_line() -> str:
    """Return the version as docker buildx writes its own: where it comes from, and which it is."""
    return f"github.com/polyarch/polyarch {RELEASE}"


def _run(options: Options, context: Context) -> int:
    del options
    context.print(version_line())
    return 0


VERSION = Command(
    usage="",
    run=_run,
    example="$ polyarch version",
    flags=(Flag(name="builder", hidden=True),),
)
