"""What clients see of files in a result; links lead no further than its root."""

from __future__ import annotations

import fnmatch
import os
import stat
from pathlib import Path

from polyarch.buildkit.files import go_mode
from polyarch.buildkit.messages import Stat
from polyarch.errors import InputError, NotFound
from polyarch.inroot import open_regular, resolve

__all__ = ["list_directory", "read_part", "stat_of"]

_LARGEST = 16 << 20


def read_part(root: Path, path: str, offset: int = 0, size: int = 0) -> bytes:
    """Return `size` bytes of a file from `offset` on, all of it for 0. Raises NotFound, InputError."""
    try:
        with open(open_regular(path, root=root), "rb") as file:
            file.seek(offset)
            data = file.read(min(size or _LARGEST + 1, _LARGEST + 1))
    except OSError as error:
        raise _missing("open", path, error) from error
    if len(data) > _LARGEST:
        raise InputError(f"{path} is larger than the {_LARGEST} bytes that are read at once")
    return data


def list_directory(root: Path, path: str, pattern: str = "") -> list[Stat]:
    """Return the entries of a directory, by name; those that match a pattern. Raises NotFound."""
    directory = resolve(root, path)
    try:
        names = sorted(os.listdir(directory))
        return [
            _stat(name, directory / name)
            for name in names
            if not pattern or fnmatch.fnmatchcase(name, pattern)
        ]
    except OSError as error:
        raise _missing("open", path, error) from error


def stat_of(root: Path, path: str) -> Stat:
    """Return what there is to tell of a file; of a link itself. Raises NotFound."""
    parent, _, name = path.rstrip("/").rpartition("/")
    target = resolve(root, parent or "/") / name if name not in {"", ".", ".."} else root
    try:
        return _stat(name or "/", target)
    except OSError as error:
        raise _missing("lstat", path, error) from error


def _missing(call: str, path: str, error: OSError) -> NotFound:
    return NotFound(f"{call} {path}: {(error.strerror or str(error)).lower()}")


def _stat(name: str, path: Path) -> Stat:
    status = path.lstat()
    return Stat(
        path=name,
        mode=go_mode(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if stat.S_ISREG(status.st_mode) else 0,
        mtime=status.st_mtime_ns,
        link=os.readlink(path) if stat.S_ISLNK(status.st_mode) else "",
    )
