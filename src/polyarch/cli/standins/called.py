"""What a program that we stand in for was asked for, in terms of our own commands."""

from __future__ import annotations

from collections.abc import Callable

from polyarch.cli.commands import Entry
from polyarch.cli.frame.command import Context
from polyarch.record import frozen

__all__ = ["Called"]


@frozen
class Called:
    """A command and its words; without a command the words are those of a command line of our own.

    `finish` is called after the command ended well.
    """

    words: list[str]
    context: Context
    entry: Entry | None = None
    finish: Callable[[], None] | None = None
