"""Directory trees of the store: removed whatever is in them, measured."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["remove_tree", "tree_size"]

# Deeper directories are first moved up, so that neither file descriptors nor the stack run out.
_MAX_DEPTH = 64


def remove_tree(path: Path | str) -> None:
    """Remove `path` with all that is in it; nothing happens if it isn't there.

    Never follows a symbolic link, never enters another file system, and opens up directories without
    permissions. Raises OSError when something can't be removed.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path)
        return
    top = _open_directory(str(path), None)
    try:
        _Removal(top, status.st_dev).empty(top, 0)
    finally:
        os.close(top)
    os.rmdir(path)


class _Removal:
    def __init__(self, top: int, device: int) -> None:
        self._top = top
        self._device = device
        self._moved = 0

    def empty(self, directory: int, depth: int) -> None:
        """Remove all that is in the open directory, and what was moved up meanwhile."""
        while True:
            moved = self._moved
            with os.scandir(directory) as entries:
                names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            for name, is_directory in names:
                if is_directory:
                    self._remove_directory(directory, name, depth)
                else:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)
            if depth or moved == self._moved:
                return

    def _remove_directory(self, parent: int, name: str, depth: int) -> None:
        if depth >= _MAX_DEPTH:
            self._moved += 1
            os.rename(name, f".deep-{self._moved}", src_dir_fd=parent, dst_dir_fd=self._top)
            return
        directory = _open_directory(name, parent)
        try:
            if os.fstat(directory).st_dev != self._device:
                raise OSError(16, "a file system is mounted here", name)
            self.empty(directory, depth + 1)
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=parent)


def _open_directory(name: str, parent: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = None
    try:
        directory = os.open(name, flags, dir_fd=parent)
        if os.fstat(directory).st_mode & 0o300 == 0o300:
            return directory
        os.fchmod(directory, 0o700)
        return directory
    except PermissionError:
        if directory is not None:
            return directory  # another's directory, that root's powers may open all the same
    os.chmod(name, 0o700, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def tree_size(path: Path | str, *, most: int = sys.maxsize) -> int:
    """Return the bytes on disk of a tree, hard links counted once. Vanishing files are left out.

    0 stands for a tree of more files and directories than `most`: looking at them takes time.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for number, status in enumerate(_statuses(str(path))):
        if number == most:
            return 0
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            key = (status.st_dev, status.st_ino)
            if key in seen:
                continue
            seen.add(key)
        total += status.st_blocks * 512
    return total


def _statuses(path: str) -> Iterator[os.stat_result]:
    todo = [path]
    while todo:
        directory = todo.pop()
        with suppress(OSError), os.scandir(directory) as entries:
            yield os.lstat(directory)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    with suppress(FileNotFoundError):
                        yield entry.stat(follow_symlinks=False)
