"""Whether a copy may go straight into a layer's directory, with no overlay mounted between.

Making a file through overlayfs costs a third more than making it. A copy needs the merged tree only where
the layers below have something in its way. If its destination is new, or a directory with nothing in it, then
all that the copy can see are the directories that lead there: they are put into the layer as overlayfs would
put them, and the rest is an ordinary directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from polyarch.graph.op import CopyAction, FileAction
from polyarch.pattern import pattern
from polyarch.snapshot.copying import copy_metadata
from polyarch.store.layerform import look_up

__all__ = ["find_plot", "lay_out"]

_NUMBERS = pattern(r"(?:[0-9]+(?::[0-9]+)?)?")


def _parts(action: FileAction) -> list[str] | None:
    """Return the names on the way to a copy's destination; None if more than directories on it count."""
    if not isinstance(action, CopyAction) or action.unpack:
        return None
    if not _NUMBERS.fullmatch(action.owner):
        return None  # names are looked up in the tree
    parts = [part for part in action.destination.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in action.destination:
        return None  # for the copy to follow, or to refuse
    return parts


def find_plot(
    actions: Sequence[FileAction], lowers: Sequence[Path]
) -> list[tuple[str, str]] | None:
    """Find the directories that lead to the destination of a copy: where each lies, and its path in the tree.

    `lowers` are the layers below, base first. None if the copy needs to see more than these directories.
    """
    parts = _parts(actions[0]) if len(actions) == 1 else None
    if parts is None:
        return None
    found: list[tuple[str, str]] = []
    directories = tuple(str(lower) for lower in reversed(lowers))
    for number in range(1, len(parts) + 1):
        place, directories = look_up(directories, parts[number - 1])
        if place is None:
            return found
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            return None
        found.append((place, "/".join(parts[:number])))
    return None if any(map(os.listdir, directories)) else found


def lay_out(plot: Sequence[tuple[str, str]], upper: Path) -> None:
    """Make the directories in the layer's directory, each like that of the layers below. Raises OSError."""
    for _, path in plot:
        os.mkdir(upper / path, 0o700)
    for place, path in reversed(plot):
        # The innermost first: a directory that is made in another changes its time.
        copy_metadata(place, os.lstat(place), str(upper / path))
