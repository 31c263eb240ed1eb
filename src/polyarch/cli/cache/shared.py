"""What the commands of the cache have in common."""

from __future__ import annotations

from polyarch.builders.saved import SavedBuilders
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Flag, Kind

__all__ = ["TIMEOUT", "check_builder"]

TIMEOUT = Flag(name="timeout", kind=Kind.DURATION, default="20s", hidden=True)


def check_builder(context: Context) -> None:
    """Raise if the builder that was asked for can't be used, whose cache it would be."""
    working_builder(context, SavedBuilders(context.environ))
