"""What a build may be asked for that isn't there yet: what goes on without it, and what doesn't.

A cache only saves time, so a build goes on without it, with one line. What BuildKit would refuse as well is refused in
its words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyarch.errors import InputError
from polyarch.request.caches import CACHES

if TYPE_CHECKING:
    from polyarch.cli.building.request import Asked

__all__ = ["left_out"]


def left_out(asked: Asked) -> list[str]:
    """Return a line for what the build goes on without. Raises InputError for what it can't go on without."""
    if asked.policies:
        raise InputError("--policy can't be carried out yet", hint="build without it")
    request = asked.request
    flags = [
        f"{flag} type={entry.type}"
        for flag, entries in (
            ("--cache-from", request.cache_from),
            ("--cache-to", request.cache_to),
        )
        for entry in entries
        if entry.type not in CACHES | {"inline"}
    ]
    if not flags:
        return []
    names = ", ".join(dict.fromkeys(flags))
    return [f"WARNING: {names}: no effect yet, use registry, local, gha or inline"]
