"""Reading a tree that others may write to: what was looked at is what is read, or an error.

A build context belongs to whoever works in it. Between the look at a file and the reading of it, a folder
on the way may have become a link that leads out of the context, the file a pipe that nobody writes to, or
its content another. So nothing is opened through a link anywhere on its path, an open file is compared
with what was seen of it, before it is read and after, and opening never waits.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from polyarch import syscalls
from polyarch.errors import InputError

__all__ = [
    "SWAPPED",
    "changed",
    "check_unchanged",
    "open_folder",
    "open_regular",
    "read_link",
    "reading_context",
]

SWAPPED = (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ELOOP)
"""What the kernel says of something else than was seen: ENXIO of a socket, ELOOP of a link on the way."""
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


def open_folder(path: str) -> int:
    """Open a folder whose path holds no links; return its descriptor. Raises InputError, OSError."""
    return _open(path, _FOLDER)


def open_regular(path: str, status: os.stat_result) -> int:
    """Open the regular file that `status` is of; `path` is absolute and holds no links.

    Returns a descriptor. Raises InputError if there is something else by now, OSError.
    """
    descriptor = _open(path, _FILE)
    try:
        check_unchanged(descriptor, path, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_unchanged(descriptor: int, path: str, status: os.stat_result) -> None:
    """Raise InputError unless the open file is the one that `status` is of, as it was then."""
    if _look(os.fstat(descriptor)) != _look(status):
        raise changed(path)


def read_link(path: str, status: os.stat_result) -> str:
    """Return what the symbolic link at `path`, that `status` is of, leads to. Raises InputError, OSError."""
    descriptor = _open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISLNK(found.st_mode) or found.st_ino != status.st_ino:
            raise changed(path)
        return os.readlink("", dir_fd=descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reading_context(path: str) -> Iterator[None]:
    """Turn the system's errors about a file of a build context into InputError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        raise InputError(
            f"can't read {path} of the build context: {error.strerror}",
            hint="mend its permissions, or leave it out by .dockerignore",
        ) from error


def _open(path: str, flags: int) -> int:
    try:
        return syscalls.openat2(
            syscalls.AT_FDCWD, path, flags, resolve=syscalls.RESOLVE_NO_SYMLINKS
        )
    except OSError as error:
        if error.errno in SWAPPED:
            raise changed(path) from error
        raise


def _look(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def changed(path: str) -> InputError:
    """Return the error for what is another thing than it was when it was looked at."""
    return InputError(
        f"{path} changed while it was read",
        hint="build again when nothing writes to the build context",
    )
