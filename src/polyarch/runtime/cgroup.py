"""A cgroup for a step that has limits or a parent; others stay in the engine's, which costs nothing.

Works with the unified hierarchy and with the older ones; a step is in all of them, below the same path,
as runc has it. Where the engine may not make cgroups (an ordinary user to whom none is delegated) the step
is refused: who asks for a limit must not get a step without it. A killed engine can't remove its cgroups:
the next one to make a cgroup removes those that are empty, not brand-new and held by nobody.

Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of Linux.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from polyarch.errors import MachineError
from polyarch.record import frozen
from polyarch.request.limits import Resources
from polyarch.runtime.step import Host, Step

__all__ = [
    "Cgroup",
    "cgroup_name",
    "check_cgroup",
    "find_cgroup",
    "hierarchies",
    "hold_cgroup",
    "make_cgroup",
    "make_parent",
    "remove_cgroup",
    "remove_stale",
    "settings_v1",
    "settings_v2",
]

_PREFIX = "polyarch-"
_YOUNG = 60.0
"""Seconds within which an empty cgroup may be one whose process is just about to start."""
_ATTEMPTS = 50
_ATTEMPT = 0.02
"""Seconds between attempts to remove a cgroup: its last process has ended, but may still be seen in it."""


@frozen
class Cgroup:
    """The directories of a cgroup, one per hierarchy; none if there are no limits."""

    directories: tuple[str, ...]

    def out_of_memory(self) -> bool:
        """Tell whether the kernel killed something in it for want of memory."""
        return any(
            _field(f"{directory}/{file}", "oom_kill") > 0
            for directory in self.directories
            for file in ("memory.events", "memory.oom_control")
        )


def settings_v2(resources: Resources) -> dict[str, str]:
    """Return what to write into which file of the unified hierarchy."""
    settings = {
        "memory.max": resources.memory,
        "memory.swap.max": _swap_only(resources),
        "cpu.weight": _weight(resources.cpu_shares),
        "cpuset.cpus": resources.cpuset_cpus,
        "cpuset.mems": resources.cpuset_mems,
    }
    if resources.cpu_quota or resources.cpu_period:
        quota = resources.cpu_quota if resources.cpu_quota > 0 else "max"
        settings["cpu.max"] = f"{quota} {resources.cpu_period or 100000}"
    return {name: str(value) for name, value in settings.items() if value}


def _swap_only(resources: Resources) -> str:
    """Docker's limit counts memory and swap together, the kernel's swap alone."""
    if resources.memory_swap < 0:
        return "max"
    # "0" is a limit, too: whatever was allowed is memory.
    return str(max(0, resources.memory_swap - resources.memory)) if resources.memory_swap else ""


def _weight(shares: int) -> int:
    """Convert shares (2 to 262144) to a weight (1 to 10000), as runc does; 0 is none."""
    if not shares:
        return 0
    return 1 + ((min(max(shares, 2), 262144) - 2) * 9999) // 262142


def settings_v1(resources: Resources) -> dict[str, str]:
    """Return what to write into which file of the older hierarchies; memory before swap."""
    settings = {
        "memory.limit_in_bytes": resources.memory,
        "memory.memsw.limit_in_bytes": resources.memory_swap,
        "cpu.shares": resources.cpu_shares,
        "cpu.cfs_period_us": resources.cpu_period,
        "cpu.cfs_quota_us": resources.cpu_quota,
        "cpuset.cpus": resources.cpuset_cpus,
        "cpuset.mems": resources.cpuset_mems,
    }
    return {name: str(value) for name, value in settings.items() if value}


def cgroup_name(step: Step) -> str:
    """Return a new name for the cgroup of `step`: a path below the root of the hierarchies.

    It has the form and the length of BuildKit's, so that a step that writes it down writes as much.
    """
    parent = os.path.normpath(f"/{step.cgroup_parent}/buildkit").replace("//", "/")
    return f"{parent}/{_PREFIX}{os.urandom(8).hex()}"


def find_cgroup(name: str) -> Cgroup:
    """Return the cgroup that a runtime has made under a name; only its memory is looked at."""
    return Cgroup(directories=tuple(hierarchy + name for hierarchy in hierarchies({"memory"})))


def check_cgroup(step: Step, host: Host) -> None:
    """Raise MachineError if `step` needs a cgroup, and an ordinary user's runtime makes none."""
    if step.needs_cgroup and host.rootless:
        raise _refusal(step, "an ordinary user's runtime makes no cgroups")


@contextlib.contextmanager
def make_cgroup(step: Step, host: Host) -> Iterator[Cgroup]:
    """Make a cgroup for the time of the block, if `step` has limits or a parent; else give an empty one.

    Raises MachineError if that isn't allowed, or a limit can't be set.
    """
    if not step.needs_cgroup:
        yield Cgroup(directories=())
        return
    settings = (settings_v2 if host.cgroup2 else settings_v1)(step.resources)
    name = cgroup_name(step)
    with contextlib.ExitStack() as made:
        try:
            directories = tuple(_make(name, settings, made))
        except OSError as error:
            raise _refusal(step, f"{error.filename}: {error.strerror}") from error
        unset = settings.keys() - _known(directories, settings)
        if unset or not directories:
            lacking = f"the kernel has no {', '.join(sorted(unset))}" if unset else "there are none"
            raise _refusal(step, lacking)
        yield Cgroup(directories=directories)


@contextlib.contextmanager
def make_parent(step: Step, name: str) -> Iterator[None]:
    """Make the parent of the cgroup `name` for the time of the block: the runtime makes the cgroup itself.

    Raises MachineError if that isn't allowed.
    """
    with contextlib.ExitStack() as made:
        try:
            for hierarchy in hierarchies():
                _make_directories(hierarchy, os.path.dirname(name), made)
        except OSError as error:
            raise _refusal(step, f"{error.filename}: {error.strerror}") from error
        yield


def _refusal(step: Step, reason: str) -> MachineError:
    wish = "its limits" if step.is_limited else f"the parent {step.cgroup_parent}"
    return MachineError(
        f"the step can't have a cgroup with {wish}: {reason}",
        hint="leave --resource, --memory, --cpu-... and --cgroup-parent out, or build as root; an ordinary "
        "user can give a cgroup that is theirs, with all its controllers, as --cgroup-parent",
    )


def _make(name: str, settings: dict[str, str], made: contextlib.ExitStack) -> Iterator[str]:
    """Make the directories of a cgroup and write its settings; `made` removes what is new. Raises OSError."""
    controllers = {setting.split(".")[0] for setting in settings}
    for hierarchy in hierarchies():
        directory = hierarchy + name
        _make_directories(hierarchy, name, made)
        made.callback(os.close, hold_cgroup(directory))
        remove_stale(os.path.dirname(directory))
        _enable(hierarchy, os.path.dirname(directory), controllers)
        for setting, value in settings.items():
            if os.path.exists(f"{directory}/{setting}"):
                _write(f"{directory}/{setting}", value)
        yield directory


def _make_directories(hierarchy: str, name: str, made: contextlib.ExitStack) -> None:
    """Make the directory of a cgroup and those on the way to it. Raises OSError."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            path = hierarchy
            for part in name.strip("/").split("/"):
                path = f"{path}/{part}"
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path)
                    made.callback(remove_cgroup, path)
                if os.path.exists(f"{path}/cpuset.cpus"):
                    _inherit_cpus(path, os.path.dirname(path))
        except FileNotFoundError:
            # Another step, which made the parent, has ended just now and removed it.
            if not attempts_left:
                raise
        else:
            return


def _known(directories: tuple[str, ...], settings: dict[str, str]) -> set[str]:
    """Return the settings that there are files for."""
    return {name for name in settings if any(os.path.exists(f"{it}/{name}") for it in directories)}


def remove_cgroup(directory: str) -> None:
    """Remove a cgroup; one that others use by now stays."""
    for _ in range(_ATTEMPTS):
        try:
            os.rmdir(directory)
        except OSError as error:
            if error.errno != errno.EBUSY or _has_children(directory):
                return
            time.sleep(_ATTEMPT)
        else:
            return


def _has_children(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(entry.is_dir() for entry in entries)
    except OSError:
        return False


def hierarchies(controllers: set[str] | None = None) -> list[str]:
    """Return where the hierarchies that have any of `controllers` are mounted; None means all."""
    found: dict[str, str] = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            directory = before.split(" ")[4]
            here = (
                _words(f"{directory}/cgroup.controllers")
                if kind == "cgroup2"
                else options.split(",")
            )
            wanted = controllers is None or bool(controllers & set(here))
            if kind in {"cgroup", "cgroup2"} and wanted:
                # One hierarchy may be mounted at several places.
                found.setdefault(options if kind == "cgroup" else kind, directory)
    return list(found.values())


def hold_cgroup(directory: str) -> int:
    """Open the directory of a cgroup that may be empty for long; `remove_stale` leaves it as long as it is open."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(opened, fcntl.LOCK_SH)
    return opened


def remove_stale(parent: str) -> None:
    """Remove the empty cgroups of engines that were killed."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(parent)):
            is_ours = entry.name.startswith(_PREFIX)
            if is_ours and time.time() - entry.stat().st_mtime > _YOUNG:
                with contextlib.suppress(OSError):
                    _remove_unheld(entry.path)


def _remove_unheld(directory: str) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rmdir(directory)
    finally:
        os.close(opened)


def _enable(hierarchy: str, parent: str, controllers: set[str]) -> None:
    """Hand the controllers of the unified hierarchy down to the parent's children."""
    directory = hierarchy
    for part in ("", *os.path.relpath(parent, hierarchy).split("/")):
        directory = os.path.join(directory, part) if part else directory
        for controller in controllers:
            _try_write(f"{directory}/cgroup.subtree_control", f"+{controller}")


def _inherit_cpus(directory: str, parent: str) -> None:
    """Give a new cgroup of the older kind the processors of its parent: it has none at first."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not _words(f"{directory}/{name}"):
            _try_write(f"{directory}/{name}", " ".join(_words(f"{parent}/{name}")))


def _write(path: str, text: str) -> None:
    """Write to a file of the kernel. Raises OSError with the file's name: the kernel's own has none."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _try_write(path: str, text: str) -> None:
    with contextlib.suppress(OSError):
        _write(path, text)


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _field(path: str, name: str) -> int:
    words = _words(path)
    return int(words[words.index(name) + 1]) if name in words else 0
