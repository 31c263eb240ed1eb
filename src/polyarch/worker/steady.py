"""Reading a tree that others may write to: what was looked at is what is read, or an error.

A build context belongs to whoever works in it. Between the look at a file and the reading of it, a directory
on the way may have become a link that leads out of the context, the file a pipe that nobody writes to, or
its content another. So nothing is opened through a link anywhere on its path, an open file is compared
with what was seen of it, at the latest when it has been read, and opening never waits.

Files are opened by their names in an open directory: a path of openat2 costs the kernel a look at each of its
directories, and Python a call through ctypes, for each of many small files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

from polyarch import syscalls
from polyarch.errors import InputError
from polyarch.look import Status

__all__ = [
    "SWAPPED",
    "SteadyDirectory",
    "changed",
    "check_unchanged",
    "open_directory",
    "read_link",
    "reading_context",
]

SWAPPED = (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ELOOP)
"""What the kernel says of something else than was seen: ENXIO of a socket, ELOOP of a link on the way."""
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_look = attrgetter("st_dev", "st_ino", "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns")


class SteadyDirectory:
    """A directory of a build context, for opening files in it; opened when the first one is wanted.

    `path` is absolute and holds no links. All methods but `close` raise InputError for what isn't there any
    more, has changed, or can't be read.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def open(self, name: str, status: Status) -> int:
        """Open the regular file that `status` is of; return its descriptor."""
        with reading_context(f"{self.path}/{name}"):
            descriptor = self._open(name)
            try:
                check_unchanged(descriptor, f"{self.path}/{name}", status)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

    def share(self) -> None:
        """Have the directory open, so that several threads may open files in it."""
        with reading_context(self.path):
            if self._descriptor < 0:
                self._descriptor = open_directory(self.path)

    def read(self, name: str, status: Status) -> bytes:
        """Return the content of the regular file that `status` is of: a small one."""
        try:
            descriptor = self._open(name)
            try:
                # One byte more than there should be: a file that has grown isn't read to its end.
                data = os.read(descriptor, status.st_size + 1)
                while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
                    data += more
            finally:
                # First of all: reading something else, as a directory, may have failed because of that.
                is_same = _look(os.fstat(descriptor)) == _look(status)
                os.close(descriptor)
                if not is_same:
                    raise changed(f"{self.path}/{name}")
        except OSError as error:
            raise _unreadable(f"{self.path}/{name}", error) from error
        return data

    def close(self) -> None:
        """Close the directory; may be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, name: str) -> int:
        try:
            if self._descriptor < 0:
                self._descriptor = open_directory(self.path)
            return os.open(name, _FILE, dir_fd=self._descriptor)
        except InputError:
            raise changed(f"{self.path}/{name}") from None
        except OSError as error:
            if error.errno in SWAPPED:
                raise changed(f"{self.path}/{name}") from error
            raise


def open_directory(path: str) -> int:
    """Open a directory whose path holds no links; return its descriptor. Raises InputError, OSError."""
    return _open(path, _DIRECTORY)


def check_unchanged(descriptor: int, path: str, status: Status) -> None:
    """Raise InputError unless the open file is the one that `status` is of, as it was then."""
    if _look(os.fstat(descriptor)) != _look(status):
        raise changed(path)


def read_link(path: str, status: Status) -> str:
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
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> Exception:
    if error.errno == errno.ENAMETOOLONG:
        return error
    return InputError(
        f"can't read {path} of the build context: {error.strerror}",
        hint="fix its permissions, or leave it out by .dockerignore",
    )


def _open(path: str, flags: int) -> int:
    try:
        return syscalls.openat2(
            syscalls.AT_FDCWD, path, flags, resolve=syscalls.RESOLVE_NO_SYMLINKS
        )
    except OSError as error:
        if error.errno in SWAPPED:
            raise changed(path) from error
        raise


def changed(path: str) -> InputError:
    """Return the error for what is another thing than it was when it was looked at."""
    return InputError(
        f"{path} changed while it was read",
        hint="build again when nothing writes to the build context",
    )
