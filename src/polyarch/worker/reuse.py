"""Files that the store has already, so that a copy of them needs only another name.

Snapshots never change once they are committed, and what a step writes to a file of a layer below,
overlayfs writes to a copy of its own (so does the native snapshotter, which copies all): two snapshots
may share a file. There are two places to take it from:

- the stage that is copied from, if neither `--chown` nor `--chmod` makes another file of it (`Originals`);
- what the same COPY of the same build context made the last time, if content, mode and time are as they
  were then (`Earlier`). What that was is kept beside the snapshot's directory, and goes with it.

Owners needn't be compared: those of a context's files follow from the COPY, which is part of the key.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from polyarch.record import frozen
from polyarch.store.layerform import look_up
from polyarch.worker.copyfiles import ReuseIn
from polyarch.worker.tree import FileDigest, Listed

__all__ = ["COPIED_NAME", "Earlier", "Originals"]

COPIED_NAME = "copied"
"""The file beside a snapshot's directory that says which files of a context are in it."""

_STAMP = struct.Struct("<32sqI")
_LEAST_FILES = 64
"""A copy of fewer is as fast as writing down what it was of."""
_NO_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOENT, errno.EOPNOTSUPP)


def _link(path: str, name: str, folder: int) -> bool:
    """Give a file one more name in an open folder. Returns False if it can't have one."""
    try:
        os.link(path, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


@frozen
class Originals:
    """The files of the tree that `layers` make, topmost first; it is seen merged at `root`."""

    root: str
    layers: tuple[str, ...]

    def of(self, source: str, target: str) -> ReuseIn | None:
        """See Reuse."""
        del target
        folders = self.layers
        inside = source.removeprefix(self.root).strip("/")
        for part in inside.split("/") if inside else ():
            folders = look_up(folders, part)[1]
        return _OriginalsIn(folders=folders)


@frozen
class _OriginalsIn:
    folders: Sequence[str]

    def link(self, item: Listed, folder: int, name: str) -> bool:
        """See ReuseIn. Attributes may be ours, or not to be copied: a file with any is left to others."""
        path = look_up(self.folders, item.name)[0]
        if path is None or not stat.S_ISREG(os.lstat(path).st_mode) or _xattrs(path):
            return False
        return _link(path, name, folder)


def _xattrs(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []  # a file system without them


class Earlier:
    """What a COPY of a context made earlier, and what it makes now.

    `root` is the tree that is written to, `before` the directory of the snapshot of the earlier copy.
    """

    def __init__(self, root: Path, digest: FileDigest, before: Path | None) -> None:
        self._root = str(root)
        self._digest = digest
        self._before = str(before)
        self._known = {} if before is None else _read(before.parent / COPIED_NAME)
        self._made: dict[str, bytes] = {}

    def of(self, source: str, target: str) -> ReuseIn:
        """See Reuse."""
        inside = target.removeprefix(self._root).strip("/")
        return _EarlierIn(earlier=self, source=source, inside=inside)

    def link(self, path: str, status: os.stat_result, inside: str, folder: int) -> bool:
        """Note that the file at `path` goes to `inside`, and take over the earlier one if it is the same."""
        mode = stat.S_IMODE(status.st_mode)
        stamp = _STAMP.pack(self._digest(path, status), status.st_mtime_ns, mode)
        self._made[inside] = stamp
        if self._known.get(inside) != stamp:
            return False
        return _link(f"{self._before}/{inside}", inside.rpartition("/")[2], folder)

    def save(self, folder: Path) -> bool:
        """Write down, beside the directory of the new snapshot, what was copied, if it is much."""
        if len(self._made) < _LEAST_FILES:
            return False
        names = "\0".join(self._made).encode("utf-8", "surrogateescape")
        data = len(names).to_bytes(8, "little") + names + b"".join(self._made.values())
        (folder / COPIED_NAME).write_bytes(data)
        return True


@frozen
class _EarlierIn:
    earlier: Earlier
    source: str
    inside: str

    def link(self, item: Listed, folder: int, name: str) -> bool:
        """See ReuseIn."""
        inside = f"{self.inside}/{name}" if self.inside else name
        return self.earlier.link(f"{self.source}/{item.name}", item.status, inside, folder)


def _read(path: Path) -> dict[str, bytes]:
    """Read what `Earlier.save` wrote; what isn't whole says nothing."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    size = int.from_bytes(data[:8], "little")
    names, stamps = data[8 : 8 + size], data[8 + size :]
    paths = names.decode("utf-8", "surrogateescape").split("\0")
    if len(stamps) != len(paths) * _STAMP.size:
        return {}
    step = _STAMP.size
    return {path: stamps[i * step : (i + 1) * step] for i, path in enumerate(paths)}
