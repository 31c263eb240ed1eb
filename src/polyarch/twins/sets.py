"""Sets of native twins: two roots of one base image -> the programs that a foreign step runs natively.

A set is a directory whose name is its number. All sets of a store lie side by side, in the directory that
a step sees at `MOUNTED`. Source: docs/twins.md.
"""

from __future__ import annotations

from pathlib import Path

from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["MOUNTED", "NoTwins", "Twin", "TwinSet", "load_set", "make_set"]

MOUNTED = "/dev/.pa"
"""Where a step sees the directory of all sets."""


@frozen
class Twin:
    """A foreign program that has a native twin.

    `path` is absolute in the root, without links; `header` are the bytes by which the kernel knows the foreign
    program, `digest` is that of its whole file, and `ring` says which kind of program it is ("a", "b").
    """

    path: str
    header: bytes
    digest: str
    ring: str


@frozen
class TwinSet:
    """The twins of one foreign root, ready to be registered: those below `directory`/root."""

    number: int
    directory: Path
    platform: Platform
    twins: tuple[Twin, ...]


@frozen
class NoTwins:
    """There is no set for a pair of roots."""

    reason: str


def make_set(
    foreign: Path, native: Path, platform: Platform, directory: Path, number: int
) -> TwinSet | NoTwins:
    """Make the twins of the programs of `foreign`, a root of `platform`, from `native`, the host's variant of it.

    `directory` is where the set is going to be, the directory of all sets with the number as the last name; it
    is written aside and renamed, so it is there as a whole or not at all. Both roots are read inside of them
    only, whatever links say. Raises StoreError if `directory` can't be written.
    """
    del foreign, native, platform, directory, number
    return NoTwins(reason="twins can't be made yet")


def load_set(directory: Path) -> TwinSet | None:
    """Return the set that was made at `directory`; None if there is none, or one of another version of us."""
    del directory
    return None
