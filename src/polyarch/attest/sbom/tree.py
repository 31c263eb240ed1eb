"""The files of a result as data: listed without following links, and read within bounds. Nobody trusts them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from polyarch.errors import InputError
from polyarch.inroot import open_regular, read_small
from polyarch.progress import check_cancelled
from polyarch.record import frozen

__all__ = ["File", "Tree"]

_DEPTH = 256
_LIMIT = 64 << 20
"""Bytes of a database or a list: a distribution's of all its packages has a tenth of that."""


@frozen
class File:
    """A regular file, or (`is_link`) a symbolic link, by its path relative to the root."""

    path: str
    size: int = 0
    is_program: bool = False
    is_link: bool = False

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@frozen
class Tree:
    """A root file system at `root` on this machine."""

    root: Path

    def files(self) -> Iterator[File]:
        """Give all regular files and links, in the order of their names. Raises Cancelled."""
        todo = [""]
        while todo:
            check_cancelled()
            directory = todo.pop()
            if directory.count("/") > _DEPTH:
                continue
            entries = self._listed(directory)
            deeper = []
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(path)
                    continue
                if (found := _file(entry, path)) is not None:
                    yield found
            todo.extend(reversed(deeper))

    def _listed(self, directory: str) -> list[os.DirEntry[str]]:
        with suppress(OSError), os.scandir(self.root / directory) as listing:
            return sorted(listing, key=lambda entry: entry.name)
        return []

    def read(self, path: str, limit: int = _LIMIT) -> bytes:
        """Return a file, as a process in the root would read it; nothing for what is none, or too large."""
        try:
            return read_small(path, limit, "list of packages", root=self.root)
        except (OSError, InputError):
            return b""

    def text(self, path: str) -> str:
        """Return the text of a file."""
        return self.read(path).decode("utf-8", "replace")

    @contextmanager
    def opened(self, path: str) -> Iterator[BinaryIO | None]:
        """Give a file to be read at any place, None if it can't be."""
        try:
            descriptor = open_regular(path, root=self.root)
        except (OSError, InputError):
            yield None
            return
        with open(descriptor, "rb", buffering=0) as file:
            yield file


def _file(entry: os.DirEntry[str], path: str) -> File | None:
    with suppress(OSError):
        if entry.is_symlink():
            return File(path=path, is_link=True)
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            is_program = bool(status.st_mode & 0o111)
            return File(path=path, size=status.st_size, is_program=is_program)
    return None
