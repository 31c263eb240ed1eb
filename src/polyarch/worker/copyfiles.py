"""The files of one folder, copied into another by descriptors.

A path of four folders costs the kernel four look-ups for each call, so both folders are opened once and
files are named relative to them. What was looked at when the folder was listed has to be what is read:
a file of a build context that is another one by now, or changes meanwhile, is an error. Nothing but a
regular file is opened, and no link is followed.

A file that the store has already, in the same form, isn't copied at all but gets one more name: see
`worker.reuse`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from polyarch.inroot import OWNER_XATTR, set_owner_of
from polyarch.progress import check_cancelled
from polyarch.record import frozen
from polyarch.text.filemode import FileMode
from polyarch.worker.tree import REPLACED, Listed, SourceTree, changed, is_same_file
from polyarch.worker.users import Owner

__all__ = ["NO_SPACE", "FileCopy", "Reuse", "ReuseIn", "counted_xattrs"]

NO_SPACE = (28, 122)
"""ENOSPC and EDQUOT."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL_FILE = 1 << 16
_COPY_CHUNK = 1 << 26


class ReuseIn(Protocol):
    """What the store has of the files that one folder is to get."""

    def link(self, item: Listed, folder: int, name: str) -> bool:
        """Give the file that `item` is to become its `name` in the open `folder`, if it is there already."""


class Reuse(Protocol):
    """What the store has of the files that a copy makes. Used from several threads."""

    def of(self, source: str, target: str) -> ReuseIn | None:
        """Return what there is for the files of the folder `source` that are to be in `target`.

        Both are paths on this machine. None if there is nothing.
        """


@frozen
class FileCopy:
    """How files are copied: what `Copier` was told, as far as it concerns regular files."""

    source: SourceTree
    owner: Owner | None = None
    mode: FileMode | None = None
    reuse: Reuse | None = None

    def copy(self, source: str, target: str, items: Sequence[Listed]) -> None:
        """Copy regular files of the folder `source` into the folder `target`, where their names are free.

        Raises InputError for a file of a context that isn't what `items` says, StoreError, OSError.
        """
        reuse = self._reuse(source, target)
        with _opened(source) as here, _opened(target) as there:
            for item in items:
                check_cancelled()
                if reuse is None or not reuse.link(item, there, item.name):
                    self._copy_file(f"{source}/{item.name}", item, (here, there), item.name)

    def copy_one(self, path: str, status: os.stat_result, target: str) -> None:
        """Copy one regular file to `target`, where nothing is. Raises as `copy`."""
        source, _, name = path.rpartition("/")
        folder, _, new_name = target.rpartition("/")
        item = Listed(name, status)
        reuse = self._reuse(source, folder)
        with _opened(source) as here, _opened(folder) as there:
            if reuse is None or not reuse.link(item, there, new_name):
                self._copy_file(path, item, (here, there), new_name)

    def _reuse(self, source: str, target: str) -> ReuseIn | None:
        return None if self.reuse is None else self.reuse.of(source, target)

    def _copy_file(self, path: str, item: Listed, folders: tuple[int, int], new_name: str) -> None:
        reader = self._open(path, item, folders[0])
        try:
            writer = os.open(new_name, _NEW, 0o600, dir_fd=folders[1])
            try:
                copied = _copy_bytes(reader, writer, item.status.st_size)
                if self.source.is_context:
                    _check_same(path, reader, item.status, copied)
                self._set_metadata(reader, writer, item.status)
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def _open(self, path: str, item: Listed, folder: int) -> int:
        try:
            reader = os.open(item.name, _READ, dir_fd=folder)
        except OSError as error:
            if self.source.is_context and error.errno in REPLACED:
                raise changed(path) from error
            raise
        if self.source.is_context and not is_same_file(os.fstat(reader), item.status):
            os.close(reader)
            raise changed(path)
        return reader

    def _set_metadata(self, reader: int, writer: int, status: os.stat_result) -> None:
        """Set owner, mode, extended attributes and times, in the order that keeps set-id bits."""
        names = () if self.source.is_context else os.listxattr(reader)
        uid, gid = self._owner(reader, names, status)
        set_owner_of(writer, uid, gid)
        mode = stat.S_IMODE(status.st_mode)
        os.fchmod(writer, mode if self.mode is None else self.mode.of(mode, False))
        _copy_xattrs(names, reader, writer)
        os.utime(writer, ns=(status.st_mtime_ns, status.st_mtime_ns))

    def _owner(self, reader: int, names: Sequence[str], status: os.stat_result) -> tuple[int, int]:
        if self.owner is not None:
            return self.owner.uid, self.owner.gid
        if self.source.is_context:
            return 0, 0
        if OWNER_XATTR in names:
            uid, _, gid = os.getxattr(reader, OWNER_XATTR).decode().partition(":")
            return int(uid), int(gid)
        return status.st_uid, status.st_gid


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    descriptor = os.open(folder or "/", _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_same(path: str, reader: int, status: os.stat_result, copied: int) -> None:
    if copied != status.st_size or not is_same_file(os.fstat(reader), status):
        raise changed(path)


def _copy_bytes(reader: int, writer: int, size: int) -> int:
    """Copy a file inside the kernel if it is large: shared extents where the file system has them."""
    return _copy_small(reader, writer) if size <= _SMALL_FILE else _copy_large(reader, writer)


def _copy_small(reader: int, writer: int) -> int:
    copied = 0
    while data := os.read(reader, _SMALL_FILE + 1):
        copied += len(data)
        is_end = len(data) <= _SMALL_FILE
        while data:
            data = data[os.write(writer, data) :]
        if is_end:
            break
    return copied


def _copy_large(reader: int, writer: int) -> int:
    copied = 0
    try:
        while count := os.copy_file_range(reader, writer, _COPY_CHUNK):
            copied += count
            check_cancelled()
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        # Other file systems, or a kernel that refuses: an ordinary copy from where it stopped.
        while count := os.sendfile(writer, reader, None, _COPY_CHUNK):
            copied += count
            check_cancelled()
    return copied


def counted_xattrs(names: Sequence[str]) -> list[str]:
    """Return those extended attributes that belong to the file, not to this machine's policy."""
    return [
        name
        for name in names
        if not name.startswith(("user.overlay.", "trusted.", "system.", "user.polyarch."))
        and (not name.startswith("security.") or name == "security.capability")
    ]


def _copy_xattrs(names: Sequence[str], reader: int, writer: int) -> None:
    """Copy extended attributes. Where one is refused, the rest is left out, as BuildKit does."""
    try:
        for name in counted_xattrs(names):
            os.setxattr(writer, name, os.getxattr(reader, name))
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
