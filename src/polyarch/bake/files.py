"""Bake files as texts: which are read, in which order, and how each is parsed by its name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from polyarch.bake.hcl.body import Body, parse_hcl
from polyarch.bake.hcl.jsonsyntax import BlockSchema, parse_json
from polyarch.errors import BakeFileError, InputError
from polyarch.graph.location import SourceText
from polyarch.record import frozen

__all__ = ["DEFAULT_NAMES", "File", "parse_body", "read_local", "split_environment"]

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
    """A bake file: `name` as it was asked for, "-" for standard input."""

    name: str
    text: str


def read_local(names: Sequence[str], stdin: str | None = None) -> tuple[File, ...]:
    """Read files of the current directory; without names those that are usual and there. Raises InputError."""
    files: list[File] = []
    for name in names or DEFAULT_NAMES:
        if name == "-":
            files.append(File(name=name, text=stdin or ""))
            continue
        try:
            with open(name, "rb") as opened:
                data = opened.read()
        except FileNotFoundError:
            if not names:
                continue
            raise InputError(
                f"open {name}: no such file or directory",
                hint="name a bake file with -f, or write docker-bake.hcl",
            ) from None
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise InputError(f"read {name}: {reason}") from error
        if data:
            files.append(File(name=name, text=data.decode("utf-8", "replace")))
        elif names:
            # An empty file is no definition, but one that was named is there.
            continue
    return tuple(files)


def split_environment(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files that BUILDX_BAKE_FILE names. Raises InputError."""
    if "BUILDX_BAKE_FILE" not in environ:
        return ()
    separator = environ.get("BUILDX_BAKE_PATH_SEPARATOR") or os.pathsep
    names: list[str] = []
    for each in environ["BUILDX_BAKE_FILE"].split(separator):
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
