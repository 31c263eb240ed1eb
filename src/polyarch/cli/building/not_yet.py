"""What a build may be asked for that isn't there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyarch.errors import InputError

if TYPE_CHECKING:
    from polyarch.cli.building.request import Asked

__all__ = ["check_there"]


def check_there(asked: Asked) -> None:
    """Raise InputError for what a build can't go on without."""
    if asked.policies:
        raise InputError("--policy can't be carried out yet", hint="build without it")
