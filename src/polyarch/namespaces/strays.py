"""Mounts below a directory, here and in other processes' namespaces: what should have ended with a build.

Source: proc_pid_mountinfo(5). Only processes that the caller may look at are seen; call it outside of the
engine, whose /proc shows nothing but the engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from polyarch.record import frozen

__all__ = ["MountedBelow", "mounts_below"]

_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


@frozen
class MountedBelow:
    """A mount, and the first process (by its id) that was found to have it; 0 for the caller."""

    path: Path
    process: int = 0


def mounts_below(directory: Path, proc: str = "/proc") -> tuple[MountedBelow, ...]:
    """Return all mounts below `directory`, those of the caller first, each once."""
    found: dict[str, int] = dict.fromkeys(_below(directory, f"{proc}/self/mountinfo"), 0)
    # Hundreds of processes share a mount namespace: one of each is asked.
    seen = {_namespace(f"{proc}/self")}
    for name in sorted(filter(str.isdecimal, os.listdir(proc)), key=int):
        namespace = _namespace(f"{proc}/{name}")
        if namespace and namespace not in seen:
            seen.add(namespace)
            for path in _below(directory, f"{proc}/{name}/mountinfo"):
                found.setdefault(path, int(name))
    return tuple(MountedBelow(path=Path(path), process=pid) for path, pid in found.items())


def _namespace(process: str) -> str:
    with suppress(OSError):
        return os.readlink(f"{process}/ns/mnt")
    return ""


def _below(directory: Path, mountinfo: str) -> Iterator[str]:
    prefix = f"{directory}/"
    with suppress(OSError), open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            path = line.split(" ")[4]
            # The kernel writes these four as octal numbers; a backslash comes last, or it would make others of itself.
            for escape, char in _ESCAPES.items():
                path = path.replace(escape, char)
            if path.startswith(prefix):
                yield path
