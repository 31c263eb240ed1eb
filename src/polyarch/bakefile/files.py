"""Bake files as texts: which are read, in which order, and how each is parsed by its name."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence

from polyarch.bakefile.access import Access, RemoteFile, Tree
from polyarch.bakefile.hcl.body import Body, parse_hcl
from polyarch.bakefile.hcl.jsonsyntax import BlockSchema, parse_json
from polyarch.errors import BakeFileError, InputError
from polyarch.graph.location import SourceText
from polyarch.record import frozen

__all__ = [
    "DEFAULT_NAMES",
    "FILES_VARIABLE",
    "File",
    "parse_body",
    "read_default",
    "read_included",
    "read_local",
    "read_remote",
    "split_environment",
]

DEFAULT_NAMES = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)
"""What is looked for if no file is named, in the order in which later ones win."""

FILES_VARIABLE = "BUILDX_BAKE_FILE"
"""Names files where no flag does."""
_VARIABLE = BlockSchema(labels=1, blocks={"validation": BlockSchema()}, static=frozenset({"type"}))
_FUNCTION = BlockSchema(labels=1, static=frozenset({"params", "variadic_params"}))
_SCHEMA = {
    "target": BlockSchema(labels=1),
    "group": BlockSchema(labels=1),
    "variable": _VARIABLE,
    "function": _FUNCTION,
}


@frozen
class File:
    """A bake file: `name` as it was asked for, "-" for standard input.

    Its paths lead into `tree`, if it came from elsewhere with other files; `path` is where it is in there.
    """

    name: str
    text: str
    tree: Tree | None = None
    path: str = ""

    @property
    def identity(self) -> str:
        """What is the same for the same file, whatever it is called."""
        if self.tree is not None:
            return f"{self.tree.address} {posixpath.normpath(self.path)}"
        return self.name if self.name == "-" or "://" in self.name else os.path.realpath(self.name)

    @property
    def directory(self) -> str | None:
        """The directory that it is in, or its address; None for standard input and files of web servers."""
        if self.tree is not None:
            return self.tree.inside(posixpath.dirname(self.path))
        if not self.name or self.name == "-" or "://" in self.name:
            return None
        return self.name.rpartition("/")[0] or ("/" if self.name.startswith("/") else ".")


def read_local(
    names: Sequence[str], stdin: bytes = b"", sizes: list[tuple[str, int]] | None = None
) -> tuple[File, ...]:
    """Read files of the current directory; without names those that are usual and there. Raises InputError.

    Empty ones are left out, except for standard input ("-"). What was read, or was to be, is added to `sizes`, in bytes.
    """
    files: list[File] = []
    sizes = [] if sizes is None else sizes
    for name in names or [each for each in DEFAULT_NAMES if os.path.exists(each)]:
        if name == "-":
            files.append(File(name=name, text=stdin.decode("utf-8", "surrogateescape")))
            sizes.append((name, len(stdin)))
            continue
        sizes.append((name, 0))
        data = _content(name)
        sizes[-1] = (name, len(data))
        if data:
            files.append(File(name=name, text=_text(data)))
    return tuple(files)


def _content(name: str) -> bytes:
    try:
        # What the user names may be a pipe, too: `-f <(generate)`.
        with open(name, "rb") as opened:
            return opened.read()
    except FileNotFoundError:
        raise InputError(
            f"open {name}: no such file or directory",
            hint="name a bake file with -f, or write docker-bake.hcl",
        ) from None
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InputError(f"read {name}: {reason}") from error


def read_remote(found: Tree | RemoteFile, names: Sequence[str]) -> tuple[File, ...]:
    """Return the files of what an address named; without names those that are usual and there. Raises InputError."""
    if isinstance(found, RemoteFile):
        return (File(name=found.address, text=_text(found.data)),)
    files: list[File] = []
    access = Access(is_remote=True)
    for name in names or DEFAULT_NAMES:
        if names or access.exists(name, found):
            text = _text(access.read(name, found, "bake file"))
            files.append(File(name=name, text=text, tree=found, path=name))
    return tuple(files)


def read_included(path: str, tree: Tree | None, access: Access) -> File:
    """Return a file that another one includes. Raises InputError."""
    text = _text(access.read(path, tree, "bake file"))
    if tree is None or path.startswith("cwd://"):
        return File(name=posixpath.normpath(path.removeprefix("cwd://")), text=text)
    path = posixpath.normpath("/" + path).lstrip("/")
    return File(name=f"{tree.address} {path}", text=text, tree=tree, path=path)


def read_default(directory: str, tree: Tree | None, access: Access) -> tuple[File, ...]:
    """Return the bake files of a directory that another file includes: its own, or else those of Compose.

    Raises InputError if there is none.
    """
    own = [name for name in DEFAULT_NAMES if name.startswith("docker-bake.")]
    for names in (own, [name for name in DEFAULT_NAMES if name not in own]):
        paths = [posixpath.join(directory, name) for name in names]
        found = tuple(
            read_included(each, tree, access) for each in paths if access.exists(each, tree)
        )
        if found:
            return found
    raise InputError(
        f"no bake file in {directory}", hint=f"looked for {', '.join(own)}, and files of Compose"
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def split_environment(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files that BUILDX_BAKE_FILE names. Raises InputError."""
    if FILES_VARIABLE not in environ:
        return ()
    separator = environ.get("BUILDX_BAKE_PATH_SEPARATOR") or os.pathsep
    names: list[str] = []
    for each in environ[FILES_VARIABLE].split(separator):
        name = each.strip()
        if not name:
            continue
        if name != "-" and not os.path.exists(name):
            raise InputError(f"stat {name}: no such file or directory")
        names.append(name)
    return tuple(names)


def parse_body(file: File) -> Body:
    """Read a file of HCL, as JSON or in its own syntax, which its name says. Raises HclError."""
    if file.name.endswith(".json"):
        return parse_json(SourceText(name=file.name, text=file.text), _SCHEMA)
    if file.name.endswith(".hcl"):
        return parse_hcl(SourceText(name=file.name, text=file.text))
    try:
        return parse_hcl(SourceText(name=f"{file.name}.hcl", text=file.text))
    except BakeFileError as error:
        try:
            return parse_json(SourceText(name=f"{file.name}.json", text=file.text), _SCHEMA)
        except BakeFileError:
            raise error from None
