"""What a step read of one input by content, as it was come across: for later, should the step run."""

from __future__ import annotations

from polyarch.record import field, mutable

__all__ = ["UNREAD", "Seen"]

UNREAD = bytes(32)
"""Stands in the place of a file's digest if nobody has read the file."""


@mutable
class Seen:
    """The files that a digest was made of. `revision` is the commit that they are of, if they are.

    `roots` are the trees in which they lie; `files` holds a path on this machine and what counts of the
    file, as the content digest is told of it. `unread` are the paths in the tree of those that have UNREAD
    there, in the order of the digest; `unlike` says of results that look as if they were made of the same,
    as they are stored, which of these was found to differ.
    """

    roots: list[str] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    revision: str = ""
    unread: list[str] = field(default_factory=list)
    unlike: dict[str, str] = field(default_factory=dict)
