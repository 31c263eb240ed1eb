"""Reading files of settings: their texts, and the values that are in them. Errors name the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from polyarch.errors import InputError
from polyarch.paths import read_toml

__all__ = [
    "StrPath",
    "certificates_in",
    "find_text",
    "flag",
    "parsed",
    "parsed_toml",
    "tables",
    "text",
    "texts",
]

_T = TypeVar("_T")

Table = Mapping[str, Any]
StrPath = str | os.PathLike[str]
"""Paths are texts until something is found there: a dozen files are looked for at each start."""


def find_text(path: StrPath) -> str:
    """Return what a file holds, "" for one that isn't there, or is kept from this user by somebody else.

    Root may keep a daemon's settings to itself, which then hold for that daemon alone. Raises InputError.
    """
    # Most aren't there, and to ask takes less than an exception.
    if not os.access(path, os.F_OK):
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except PermissionError as error:
        if os.stat(path).st_uid != os.geteuid():
            return ""
        raise InputError(f"can't read {path}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from error


def parsed(path: StrPath, parse: Callable[[], _T], hint: str = "") -> _T:
    """Return what `parse` makes of a file. Raises InputError, naming the file, for what can't be in one."""
    try:
        return parse()
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: {error}", hint=hint) from error


def parsed_toml(path: StrPath, parse: Callable[[Table], _T], nothing: _T, hint: str = "") -> _T:
    """Return what `parse` makes of a file of TOML; `nothing` if it isn't there. Raises InputError."""
    data = find_text(path)
    return parsed(path, lambda: parse(read_toml(data)), hint) if data else nothing


def texts(table: Table, key: str) -> tuple[str, ...]:
    """Return a list of texts. Raises ValueError."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{key} is a list of texts, not {found!r}")
    return tuple(found)


def text(table: Table, key: str) -> str:
    """Return a text, "" if it isn't there. Raises TypeError."""
    found = table.get(key, "")
    if not isinstance(found, str):
        raise TypeError(f"{key} is a text, not {found!r}")
    return found


def flag(table: Table, key: str) -> bool:
    """Return true or false, the latter if it isn't there. Raises TypeError."""
    found = table.get(key, False)
    if not isinstance(found, bool):
        raise TypeError(f"{key} is true or false, not {found!r}")
    return found


def tables(table: Table, key: str) -> list[Table]:
    """Return a list of tables. Raises ValueError."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"{key} is a list of tables, not {found!r}")
    return found


def certificates_in(directory: StrPath) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """Return the CAs and the client certificates in a directory laid out as Docker has it."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return [], []  # the usual case
    place = Path(directory)
    authorities = [place / name for name in names if name.endswith(".crt")]
    clients = [place / name for name in names if name.endswith(".cert")]
    return authorities, [(client, client.with_suffix(".key")) for client in clients]
