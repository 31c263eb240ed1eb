"""What the commands of the cache have in common."""

from __future__ import annotations

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import REMOTE_DRIVER, SavedBuilder
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Flag, Kind

__all__ = ["TIMEOUT", "cache_builder"]

TIMEOUT = Flag(name="timeout", kind=Kind.DURATION, default="20s", hidden=True)


def cache_builder(context: Context) -> SavedBuilder:
    """Return the builder whose cache is asked for: this machine's, or one of daemons. Raises MachineError, NotFound."""
    return working_builder(
        context, SavedBuilders(context.environ), elsewhere=frozenset({REMOTE_DRIVER})
    )
