"""Room that is kept for making room: on a full disk nothing could be removed, since that takes a lock and a transaction.

A directory in the store with some files, of which nobody wants more than that they are there: bytes on disk, and a few
files for file systems that run out of those. Whoever is about to remove something gives it back first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.store.trees import remove_tree

__all__ = ["keep_reserve", "reserve_lent"]

_NAME = "reserve"
_FILES = 8
_BYTES = 1 << 17
_LEAST_FREE = 64 * _FILES * _BYTES
"""Where there is less, it would be missed."""


def keep_reserve(root: Path) -> None:
    """Make the reserve of the store in `root`, unless it is there, or there is little room. Never fails."""
    directory = root / _NAME
    if directory.is_dir():
        return
    with suppress(OSError):
        status = os.statvfs(root)
        if status.f_bavail * status.f_frsize < _LEAST_FREE:
            return
        directory.mkdir(mode=0o700)
        for number in range(_FILES):
            file = os.open(
                directory / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            try:
                os.posix_fallocate(file, 0, _BYTES)
            finally:
                os.close(file)


@contextmanager
def reserve_lent(root: Path) -> Iterator[None]:
    """Give the reserve back to the disk for as long as the block lasts."""
    with suppress(OSError):
        remove_tree(root / _NAME)
    try:
        yield
    finally:
        if root.is_dir():
            keep_reserve(root)
