"""Files of a layer that have their content in another snapshot: a copy that copied nothing.

snapshots/ID/refs     the tree of such files: directories that lead to them, and in each one's place an empty
                      file of its size, owner, mode, times and attributes
snapshots/ID/whole    there once somebody needed the same tree with the contents

Each file names what it refers to twice: for overlayfs, as a path in whichever data-only layer has it, and for
us, as a path in the directory of snapshots. Overlayfs shows the content where the tree is the lowest of the
layers (see `polyarch.snapshot.lowers`); whoever reads without a mount opens it by `Directories.open_file`,
or asks for directories in which nothing is referred to.

Source: Documentation/filesystems/overlayfs.rst of Linux ("Data-only lower layers", since 6.16 for ordinary users).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from polyarch.record import frozen

__all__ = [
    "REFERENCES",
    "WHOLE",
    "Reference",
    "Referrer",
    "find_reference",
    "find_references",
    "make_reference",
]

REFERENCES = "refs"
WHOLE = "whole"

_LEAST = 1 << 20
"""Bytes from which a file is referred to; a smaller one is copied in less time than a mount takes longer."""
_METACOPY = "user.overlay.metacopy"
_REDIRECT = "user.overlay.redirect"
_CONTENT = "user.overlay.polyarch"
_NAMES = (_METACOPY, _REDIRECT, _CONTENT)


@frozen
class Reference:
    """A file at `path` in the tree whose content is that of `inside` in the directory `layer`.

    `layer` is a path in the directory of snapshots: a snapshot's id, and which of its directories.
    """

    path: str
    layer: str
    inside: str

    @property
    def snapshot(self) -> str:
        """The snapshot that has the content."""
        return self.layer.partition("/")[0]


def make_reference(file: Path | int, size: int, to: Reference) -> None:
    """Make an empty file one that refers to what `to` names, of `size` bytes. Raises OSError."""
    os.truncate(file, size)
    os.setxattr(file, _METACOPY, b"")
    os.setxattr(file, _REDIRECT, os.fsencode(f"/{to.inside}"))
    os.setxattr(file, _CONTENT, os.fsencode(f"{to.layer}/{to.inside}"))


def _undo(file: int) -> None:
    for name in _NAMES:
        try:
            os.removexattr(file, name)
        except OSError:
            continue  # not there, or not to be had
    os.truncate(file, 0)


def find_reference(file: str, path: str) -> Reference | None:
    """Return what the file, at `path` in its tree, refers to; None if it has its content itself."""
    try:
        value = os.fsdecode(os.getxattr(file, _CONTENT, follow_symlinks=False))
    except OSError:
        return None
    snapshot, directory, inside = value.split("/", 2)
    return Reference(path=path, layer=f"{snapshot}/{directory}", inside=inside)


def find_references(tree: Path) -> Iterator[Reference]:
    """Find all files of a tree of references. Raises OSError, also for a file that refers to nothing."""
    todo = [""]
    while todo:
        prefix = todo.pop()
        for entry in sorted(os.scandir(tree / prefix), key=lambda entry: entry.name):
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                todo.append(f"{path}/")
                continue
            found = find_reference(entry.path, path)
            if found is None:
                raise OSError(5, "its attributes are lost: it refers to nothing", entry.path)
            yield found


class Referrer:
    """Makes references in a draft's layer, instead of copies, from the files of other snapshots.

    They are made in `draft`/fs, where a copy expects its files, and moved in the end. `locate` says what the
    file at a path of a snapshot's directory is, as a reference; None if it is in no snapshot. `announce` is
    called before one is made.
    """

    def __init__(
        self,
        draft: Path,
        locate: Callable[[str], Reference | None],
        announce: Callable[[], None],
    ) -> None:
        self._draft = draft
        self._locate = locate
        self._announce = announce
        self._made: dict[str, None] = {}

    def refer(self, file: int, target: str, origin: str) -> bool:
        """Let the empty file that is open as `file`, at `target` in the layer, refer to the one at `origin`.

        Return whether it does; if not it is empty still.
        """
        status = os.lstat(origin)
        if not stat.S_ISREG(status.st_mode) or status.st_size < _LEAST:
            return False
        found = self._locate(origin)
        if found is None:
            return False
        self._announce()
        try:
            make_reference(file, status.st_size, found)
        except OSError:
            _undo(file)  # no room for the attributes, or a file system without them
            return False
        self._made[target] = None
        return True

    def settle(self) -> tuple[str, ...]:
        """Move the references out of the layer, which is done; return the snapshots that they refer to."""
        snapshots: dict[str, None] = {}
        layer, tree = self._draft / "fs", self._draft / REFERENCES
        for target in self._made:
            # What came to the same place later may be another file.
            found = find_reference(str(layer / target), target)
            if found is None:
                continue
            parent = (layer / target).parent
            status = parent.stat()
            (tree / target).parent.mkdir(parents=True, exist_ok=True)
            os.rename(layer / target, tree / target)
            os.utime(parent, ns=(status.st_atime_ns, status.st_mtime_ns))
            snapshots[found.snapshot] = None
        if snapshots:
            (self._draft / "plain").unlink(missing_ok=True)
        return tuple(snapshots)
