"""What a step read of one input by content, as it was come across: for later, should the step run."""

from __future__ import annotations

from polyarch.record import field, mutable

__all__ = ["Seen"]


@mutable
class Seen:
    """The files that a digest was made of. `revision` is the commit that they are of, if they are.

    `roots` are the trees in which they lie; `files` holds a path on this machine and what counts of the
    file, as the content digest is told of it.
    """

    roots: list[str] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    revision: str = ""

    def note(self, path: str, header: bytes) -> None:
        """Take one file."""
        self.files.append((path, header))
