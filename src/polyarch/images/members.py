"""A directory that holds images as if it were an archive: its files one after the other.

What is a link in it is handed on as one and never followed, so nothing outside of it is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Protocol

from polyarch.errors import StoreError
from polyarch.layer.tar import FILE, SYMLINK, Entry

__all__ = ["DirectoryMembers", "Members"]

_CHUNK = 1 << 20


class Members(Protocol):
    """What has entries, and the content of the one that was given last."""

    def __iter__(self) -> Iterator[Entry]:
        """Give the entries."""

    def content(self) -> Iterator[bytes]:
        """Give the content of the last entry in pieces."""


class DirectoryMembers:
    """The files of a directory, in the order of their names; `Members`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._file: BinaryIO | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Give the entries. Raises StoreError."""
        for parent, directories, files in os.walk(self._directory, onerror=_raise):
            directories.sort()
            for name in sorted(files):
                yield from self._entry(os.path.join(parent, name))

    def content(self) -> Iterator[bytes]:
        """Give the content of the last file in pieces. Raises OSError."""
        assert self._file is not None
        while chunk := self._file.read(_CHUNK):
            yield chunk

    def _entry(self, path: str) -> Iterator[Entry]:
        name = os.path.relpath(path, self._directory)
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.lstat(path).st_mode):
                yield Entry(name=name, kind=SYMLINK, link=os.readlink(path))
                return
            try:
                descriptor = os.open(
                    path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                )
            except PermissionError as error:
                raise StoreError(f"can't read {path}: {error.strerror}") from error
            with os.fdopen(descriptor, "rb") as self._file:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode):
                    yield Entry(name=name, kind=FILE, size=status.st_size)


def _raise(error: OSError) -> None:
    raise StoreError(f"can't read {error.filename}: {error.strerror}") from error
