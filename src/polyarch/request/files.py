"""Build contexts that aren't directories: files by name, given as bytes or as paths of files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath

from polyarch.errors import InputError
from polyarch.request.values import ContextFile

__all__ = ["Files", "split_contexts"]

Files = Mapping[str, bytes | os.PathLike[str]]
"""Names inside the context (`src/main.c`), and for each its content or the path of a file."""


def split_contexts(
    contexts: Mapping[str, str | os.PathLike[str] | Files],
) -> tuple[dict[str, str], dict[str, tuple[ContextFile, ...]]]:
    """Return the contexts that are directories, or somewhere else, and those that are files, by name.

    Raises InputError for names of files that lead out of a directory.
    """
    directories: dict[str, str] = {}
    files: dict[str, tuple[ContextFile, ...]] = {}
    for name, value in contexts.items():
        if isinstance(value, Mapping):
            files[name] = tuple(_file(each, source) for each, source in value.items())
        else:
            directories[name] = os.fspath(value)
    return directories, files


def _file(name: str, source: bytes | os.PathLike[str]) -> ContextFile:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InputError(
            f"a build context can't hold a file {name!r}", hint="name it like src/main.c"
        )
    if isinstance(source, bytes):
        return ContextFile(name=str(path), data=source)
    return ContextFile(name=str(path), path=os.path.abspath(source))
