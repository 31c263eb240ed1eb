"""What a definition reads beside itself: files that it names, here or where it came from, and other addresses.

A definition of somebody else must not read what is on this machine. So whatever it names goes through an `Access`:

- Paths in a definition that came from elsewhere lead into what came with it, and not out of that.
- Paths of this machine have to lie below the current directory, links followed, or to be allowed: `--allow fs.read=PATH`.
- Addresses have to be allowed, `--allow include=ADDRESS`, but for others of the repository that the definition is of.

Source for the first two: documentation of `docker buildx bake --allow`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from polyarch.bakefile.addresses import with_subdirectory
from polyarch.bakefile.allowed import Allowed, Missing, checks_files, lacking_reads
from polyarch.errors import InputError
from polyarch.inroot import read_small, resolve
from polyarch.record import field, frozen

__all__ = ["MOST_BYTES", "Access", "RemoteFile", "Tree", "refuse"]

MOST_BYTES = 2 << 20
"""How large a bake file may be, as with buildx."""
_HERE = "cwd://"


@frozen
class Tree:
    """Files that came from elsewhere together: `root` is where they are for now, `address` what builds fetch them by."""

    address: str
    root: Path = field(repr=False, compare=False)

    def inside(self, path: str) -> str:
        """Return the address of a directory of the tree."""
        return with_subdirectory(self.address, path)


@frozen
class RemoteFile:
    """A single file that came from elsewhere."""

    address: str
    data: bytes = field(repr=False)


def refuse(lacks: Missing) -> None:
    """Refuse what wasn't allowed. Raises InputError."""
    flags = " ".join(f"--allow={each}" for each in lacks.values)
    reasons = ", ".join(each.removeprefix(" - ") for each in lacks.reasons)
    raise InputError(
        f"additional privileges requested: {reasons}", hint=f"if you trust the file: {flags}"
    )


def _fetch_nothing(address: str) -> Tree | RemoteFile:
    raise InputError(f"{address} can't be fetched here", hint="fetch it, and name the file")


@frozen
class Access:
    """Reads for definitions. `ask` is asked for what wasn't allowed, and raises InputError unless it is granted.

    `fetch` brings what an address names here. `is_remote` says that the definition came from elsewhere.
    """

    allowed: Allowed = field(default_factory=Allowed)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_remote: bool = False
    ask: Callable[[Missing], None] = refuse
    fetch: Callable[[str], Tree | RemoteFile] = _fetch_nothing

    def read(self, path: str, tree: Tree | None, kind: str) -> bytes:
        """Return a file that a definition names; `kind` is what messages call it.

        Raises InputError for what isn't allowed, isn't there, isn't a regular file, or is larger than 2 MiB.
        """
        try:
            if tree is not None and not path.startswith(_HERE):
                return read_small(path, MOST_BYTES, kind, root=tree.root)
            path = path.removeprefix(_HERE)
            self.check_path(path)
            return read_small(path, MOST_BYTES, kind)
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise InputError(f"open {path}: {reason}") from error

    def exists(self, path: str, tree: Tree | None) -> bool:
        """Tell whether there is a file or directory. Raises InputError for what isn't allowed."""
        return self._place(path, tree).exists()

    def is_directory(self, path: str, tree: Tree | None) -> bool:
        """Tell whether a path names a directory. Raises InputError for what isn't allowed."""
        return self._place(path, tree).is_dir()

    def _place(self, path: str, tree: Tree | None) -> Path:
        if tree is not None and not path.startswith(_HERE):
            return resolve(tree.root, path)
        path = path.removeprefix(_HERE)
        self.check_path(path)
        return Path(path)

    def check_path(self, path: str) -> None:
        """Raise InputError for a path of this machine that a definition must not read."""
        if not checks_files(self.environ, is_remote=self.is_remote):
            return
        lacks = lacking_reads([path], self.allowed)
        if lacks.values:
            self.ask(lacks)

    def check_address(self, address: str, tree: Tree | None) -> None:
        """Raise InputError for an address that a definition must not name."""
        if tree is not None and _repository(address) == _repository(tree.address):
            return
        if any(_covers(each, address) for each in self.allowed.includes):
            return
        reason = f" - Reading bake files from {address}"
        self.ask(Missing(reasons=(reason,), values=(f"include={address}",)))

    def environment_file(self, directory: str) -> str:
        """Return the text of `.env` in a directory, "" if there is none, or it may not be read.

        A definition of somebody else has it only where that directory is allowed by name. Raises InputError
        for one that is a link out of the directory, and isn't allowed.
        """
        path = os.path.join(directory, ".env")
        if not os.path.isfile(path) or (self.is_remote and not self._is_allowed(path)):
            return ""
        if not os.path.realpath(path).startswith(os.path.realpath(directory).rstrip("/") + "/"):
            self.check_path(path)
        return read_small(path, MOST_BYTES, "file of variables").decode("utf-8", "surrogateescape")

    def _is_allowed(self, path: str) -> bool:
        """Tell whether `--allow` names a path, rather than the path being below the current directory."""
        if not checks_files(self.environ, is_remote=self.is_remote):
            return True
        roots = [os.path.realpath(each) for each in self.allowed.reads if each != "*"]
        real = os.path.realpath(path)
        return "*" in self.allowed.reads or any(
            real == each or real.startswith(f"{each.rstrip('/')}/") for each in roots
        )


def _repository(address: str) -> str:
    return address.partition("#")[0].partition("?")[0]


def _covers(allowed: str, address: str) -> bool:
    """Tell whether an allowed address is that one, or one that it begins with up to a slash."""
    if allowed in {"*", address}:
        return True
    bare = address.partition("#")[0]
    if ".." in posixpath.split(bare) or "/../" in f"{bare}/":
        return False
    return bare == allowed or bare.startswith(f"{allowed.rstrip('/')}/")
