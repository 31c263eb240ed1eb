"""What a step read of one input by content, as it was come across: for later, should the step run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Protocol

from polyarch.record import field, mutable

__all__ = ["UNREAD", "Files", "Seen", "SeenFiles"]

UNREAD = bytes(32)
"""Stands in the place of a file's digest if nobody has read the file."""


class Files(Protocol):
    """Some files: a path on this machine, and what counts of the file, as the content digest has it."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[str, bytes]]: ...


class SeenFiles:
    """Files that come in groups; those of a group may be found out about only when they are looked at."""

    def __init__(self) -> None:
        self._groups: list[Files] = []

    def append(self, group: Files) -> None:
        """Add a group."""
        self._groups.append(group)

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return chain.from_iterable(self._groups)


@mutable
class Seen:
    """The files that a digest was made of. `revision` is the commit that they are of, if they are.

    `roots` are the trees in which they lie. `unread` are the paths in the tree of those that have UNREAD in the
    place of their digest, in the order of the digest; `unlike` says of results that look as if they were made
    of the same, as they are stored, which of these was found to differ.
    """

    roots: list[str] = field(default_factory=list)
    files: SeenFiles = field(default_factory=SeenFiles)
    revision: str = ""
    unread: list[str] = field(default_factory=list)
    unlike: dict[str, str] = field(default_factory=dict)
