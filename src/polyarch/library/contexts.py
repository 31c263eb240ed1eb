"""Build contexts that aren't folders: files by name, given as bytes or as paths of files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath

from polyarch.errors import InputError
from polyarch.request import ContextFile

__all__ = ["Files", "context_files"]

Files = Mapping[str, bytes | os.PathLike[str]]
"""Names inside the context (`src/main.c`), and for each its content or the path of a file."""


def context_files(files: Files) -> tuple[ContextFile, ...]:
    """Return the files as a request has them. Raises InputError for names that lead out of a folder."""
    return tuple(_file(name, source) for name, source in files.items())


def _file(name: str, source: bytes | os.PathLike[str]) -> ContextFile:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InputError(
            f"a build context can't hold a file {name!r}", hint="name it like src/main.c"
        )
    if isinstance(source, bytes):
        return ContextFile(name=str(path), data=source)
    return ContextFile(name=str(path), path=os.path.abspath(source))
