"""Directories that may lie beside the project: cases and benchmarks that are no part of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["BUILD", "PROJECT", "find_beside", "get_beside"]

PROJECT = Path(__file__).absolute().parent.parent
BUILD = PROJECT / "build"


def find_beside(variable: str, name: str, entry: str) -> Path | None:
    """Return the directory that `variable` names, else `shared/NAME` beside the project or further up.

    None if it has no `entry`.
    """
    chosen = os.environ.get(variable)
    directories = [Path(chosen)] if chosen else [up / "shared" / name for up in PROJECT.parents]
    return next(
        (directory.absolute() for directory in directories if (directory / entry).exists()), None
    )


def get_beside(variable: str, name: str, entry: str) -> Path:
    """Return what `find_beside` finds, or exit saying what is missing."""
    if found := find_beside(variable, name, entry):
        return found
    where = os.environ.get(variable) or f"../shared/{name}"
    sys.exit(f"there is no {entry} in {where}: set {variable} to the directory that has it")
