"""Where the files of policies are: directories that nothing leads out of."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from polyarch.errors import InputError, NotFound
from polyarch.inroot import read_small
from polyarch.record import frozen

__all__ = ["LARGEST", "Directory", "Places"]

LARGEST = 4 << 20
CWD = "cwd://"


@frozen
class Directory:
    """A directory of this machine."""

    path: str

    def read(self, name: str) -> bytes:
        """Return a file by its path in the directory, or by one that begins with the directory's.

        Raises NotFound, InputError for what is no file, or too large.
        """
        inside = self._inside(name)
        try:
            return read_small(inside, LARGEST, "policy file", root=Path(self.path))
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"policy file {name} not found") from None
        except OSError as error:
            raise InputError(f"failed to read policy file {name}: {error.strerror}") from error

    def _inside(self, name: str) -> str:
        if os.path.isabs(name):
            relative = os.path.relpath(name, os.path.abspath(self.path))
            if relative != ".." and not relative.startswith("../"):
                name = relative
        clean = posixpath.normpath(name)
        if not name or clean.startswith(("/", "../")) or clean in {".", ".."}:
            raise InputError(f"policy file {name} leads out of {self.path}")
        return clean


@frozen
class Places:
    """The build context, and the working directory for names that begin with `cwd://`."""

    context: Directory | None
    here: Directory = Directory(path=".")

    def read(self, name: str) -> bytes:
        """Return a file. Raises as Directory.read."""
        if name.startswith(CWD):
            return self.here.read(name.removeprefix(CWD))
        if self.context is None:
            raise NotFound(f"policy file {name} not found")
        return self.context.read(name)
