"""A cgroup for a step that has limits; steps without limits stay in the engine's, which costs nothing.

Works with the unified hierarchy and with the older ones. Where the engine may not make cgroups (an
ordinary user to whom none is delegated) limits are ignored, as BuildKit does. A killed engine can't
remove its cgroups: the next one to make a cgroup removes those that are empty and not brand-new.

Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of Linux.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from polyarch.record import frozen
from polyarch.runtime.spec import Host, Resources, Step

__all__ = [
    "Cgroup",
    "cgroup_name",
    "find_cgroup",
    "hierarchies",
    "make_cgroup",
    "remove_stale",
    "settings_v1",
    "settings_v2",
]

_PREFIX = "polyarch-"
_YOUNG = 60.0
"""Seconds within which an empty cgroup may be one whose process is just about to start."""


@frozen
class Cgroup:
    """The folders of a cgroup, one per hierarchy; none if there are no limits."""

    folders: tuple[str, ...]

    def out_of_memory(self) -> bool:
        """Tell whether the kernel killed something in it for want of memory."""
        return any(
            _field(f"{folder}/{file}", "oom_kill") > 0
            for folder in self.folders
            for file in ("memory.events", "memory.oom_control")
        )


def settings_v2(resources: Resources) -> dict[str, str]:
    """Return what to write into which file of the unified hierarchy."""
    settings = {
        "memory.max": resources.memory,
        "memory.swap.max": _swap_only(resources),
        "cpu.weight": _weight(resources.cpu_shares),
        "cpuset.cpus": resources.cpuset_cpus or None,
        "cpuset.mems": resources.cpuset_mems or None,
    }
    if resources.cpu_quota or resources.cpu_period:
        quota = resources.cpu_quota if (resources.cpu_quota or 0) > 0 else "max"
        settings["cpu.max"] = f"{quota} {resources.cpu_period or 100000}"
    return {name: str(value) for name, value in settings.items() if value is not None}


def _swap_only(resources: Resources) -> int | str | None:
    """Docker's limit counts memory and swap together, the kernel's swap alone."""
    if resources.memory_swap is None:
        return None
    if resources.memory_swap < 0:
        return "max"
    return max(0, resources.memory_swap - (resources.memory or 0))


def _weight(shares: int | None) -> int | None:
    """Convert shares (2 to 262144) to a weight (1 to 10000), as runc does."""
    if not shares:
        return None
    return 1 + ((min(max(shares, 2), 262144) - 2) * 9999) // 262142


def settings_v1(resources: Resources) -> dict[str, str]:
    """Return what to write into which file of the older hierarchies; memory before swap."""
    settings = {
        "memory.limit_in_bytes": resources.memory,
        "memory.memsw.limit_in_bytes": resources.memory_swap,
        "cpu.shares": resources.cpu_shares,
        "cpu.cfs_period_us": resources.cpu_period,
        "cpu.cfs_quota_us": resources.cpu_quota,
        "cpuset.cpus": resources.cpuset_cpus or None,
        "cpuset.mems": resources.cpuset_mems or None,
    }
    return {name: str(value) for name, value in settings.items() if value is not None}


def cgroup_name(step: Step) -> str:
    """Return a new name for the cgroup of `step`: a path below the root of the hierarchies."""
    parent = step.cgroup_parent.strip("/") or "buildkit"
    return f"/{parent}/{_PREFIX}{os.urandom(8).hex()}"


def find_cgroup(name: str) -> Cgroup:
    """Return the cgroup that a runtime has made under a name; only its memory is looked at."""
    return Cgroup(folders=tuple(hierarchy + name for hierarchy in hierarchies({"memory"})))


@contextlib.contextmanager
def make_cgroup(step: Step, host: Host) -> Iterator[Cgroup]:
    """Make a cgroup with the limits of `step` for the time of the block; without limits, none."""
    if step.resources is None:
        yield Cgroup(folders=())
        return
    name = cgroup_name(step)
    settings = (settings_v2 if host.cgroup2 else settings_v1)(step.resources)
    cgroup = Cgroup(folders=tuple(_make(name, settings)))
    try:
        yield cgroup
    finally:
        for folder in cgroup.folders:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _make(name: str, settings: dict[str, str]) -> Iterator[str]:
    """Make the folders of a cgroup and write its settings, as far as that is allowed."""
    controllers = {setting.split(".")[0] for setting in settings}
    for hierarchy in hierarchies(controllers):
        folder = hierarchy + name
        try:
            os.makedirs(folder)
        except OSError:
            continue
        remove_stale(os.path.dirname(folder))
        _enable(hierarchy, os.path.dirname(folder), controllers)
        if os.path.exists(f"{folder}/cpuset.cpus"):
            _inherit_cpus(folder, hierarchy)
        for setting, value in settings.items():
            _try_write(f"{folder}/{setting}", value)
        yield folder


def hierarchies(controllers: set[str]) -> list[str]:
    """Return where the hierarchies that have any of `controllers` are mounted."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            folder = before.split(" ")[4]
            here = (
                _words(f"{folder}/cgroup.controllers") if kind == "cgroup2" else options.split(",")
            )
            if kind in {"cgroup", "cgroup2"} and controllers & set(here):
                found.append(folder)
    return found


def remove_stale(parent: str) -> None:
    """Remove the empty cgroups of engines that were killed."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            is_ours = entry.name.startswith(_PREFIX)
            if is_ours and time.time() - entry.stat().st_mtime > _YOUNG:
                with contextlib.suppress(OSError):
                    os.rmdir(entry.path)


def _enable(hierarchy: str, parent: str, controllers: set[str]) -> None:
    """Hand the controllers of the unified hierarchy down to the parent's children."""
    folder = hierarchy
    for part in ("", *os.path.relpath(parent, hierarchy).split("/")):
        folder = os.path.join(folder, part) if part else folder
        for controller in controllers:
            _try_write(f"{folder}/cgroup.subtree_control", f"+{controller}")


def _inherit_cpus(folder: str, hierarchy: str) -> None:
    """Give a new cgroup of the older kind, and its parents, the processors of the root's."""
    path = hierarchy
    for part in os.path.relpath(folder, hierarchy).split("/"):
        path = os.path.join(path, part)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not _words(f"{path}/{name}"):
                _try_write(f"{path}/{name}", " ".join(_words(f"{hierarchy}/{name}")))


def _try_write(path: str, text: str) -> None:
    with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as file:
        file.write(text)


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _field(path: str, name: str) -> int:
    words = _words(path)
    return int(words[words.index(name) + 1]) if name in words else 0
