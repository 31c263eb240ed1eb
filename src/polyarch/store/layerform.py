"""The form of a layer's directory in the store: that of overlayfs's upper directories.

A name that hides what lies below is a character device 0:0 (a whiteout). Where the store itself lies on overlayfs, as in
most containers, the kernel makes no such devices; there it is a socket without permissions. No layer has sockets, and
overlayfs can't be mounted over itself, so only the snapshotter that copies sees them. A directory that hides all
that lies below has the extended attribute `overlay.opaque` = "y", in the namespace `user.` or
`trusted.`: both are understood when read. `user.` is written where the file system has it, as then the
store of a user namespace and that of real root look alike; overlayfs takes it with `userxattr`.

Source: Documentation/filesystems/overlayfs.rst of Linux ("whiteouts and opaque directories").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

__all__ = [
    "Opener",
    "find",
    "is_opaque",
    "is_whiteout",
    "look_up",
    "make_opaque",
    "make_whiteout",
    "open_plain",
]

Opener = Callable[[str], int]
"""Opens a regular file of a layer's directory for reading, wherever its content is; gives a descriptor."""

OPAQUE_XATTRS = ("user.overlay.opaque", "trusted.overlay.opaque")


def is_whiteout(status: os.stat_result) -> bool:
    """Return whether a file with that `os.lstat` is a whiteout."""
    mode = status.st_mode
    return (stat.S_ISCHR(mode) and status.st_rdev == 0) or mode == stat.S_IFSOCK


def make_whiteout(path: str) -> None:
    """Make a whiteout; needs no privilege since Linux 5.8. Raises OSError."""
    try:
        os.mknod(path, stat.S_IFCHR, 0)
    except PermissionError:
        os.mknod(path, stat.S_IFSOCK)


def is_opaque(directory: str) -> bool:
    """Return whether a layer's directory hides all that lies below it."""
    for name in OPAQUE_XATTRS:
        try:
            if os.getxattr(directory, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def make_opaque(directory: str) -> None:
    """Let a layer's directory hide all that lies below it. Raises OSError."""
    try:
        os.setxattr(directory, OPAQUE_XATTRS[0], b"y", follow_symlinks=False)
    except OSError:
        os.setxattr(directory, OPAQUE_XATTRS[1], b"y", follow_symlinks=False)


def open_plain(path: str) -> int:
    """Open a file of a layer whose files all have their contents themselves. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def look_up(directories: Sequence[str], name: str) -> tuple[str | None, tuple[str, ...]]:
    """Find `name` in the merged directory that `directories` make, topmost layer first.

    Returns the path of what is seen under that name, or None; and if that is a directory, the
    directories that it is merged from, topmost first, ready for the next step down.
    """
    merged: list[str] = []
    for directory in directories:
        path = f"{directory}/{name}"
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if is_whiteout(status):
            break
        if not stat.S_ISDIR(status.st_mode):
            return (merged[0] if merged else path), tuple(merged)
        merged.append(path)
        if is_opaque(path):
            break
    return (merged[0] if merged else None), tuple(merged)


def find(directories: Sequence[str], path: str) -> str | None:
    """Return where that lies which is seen at `path`, relative and without links, in the merged directory.

    None if there is nothing. `directories` are as for `look_up`.
    """
    found = None
    for part in path.split("/"):
        found, directories = look_up(directories, part)
        if found is None:
            return None
    return found
