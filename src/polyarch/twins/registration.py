"""Handlers for native twins, in the private binfmt_misc of a user namespace that has the emulators' already.

A handler knows a foreign program by the first bytes of its file, all of them, and starts the twin that was opened when
it was registered. The twin is opened through a read-only copy of the mount of its tree, attached nowhere: to a
step, `/proc/PID/exe` is a file that can't be changed, whose path is that of the foreign program.

This module is loaded by every process that starts steps, so it needs little.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

from polyarch import syscalls
from polyarch.emulation.binfmt import Entry
from polyarch.errors import MachineError
from polyarch.twins.places import TREE

if TYPE_CHECKING:
    from polyarch.twins.sets import TwinSet

__all__ = ["TwinPlan", "plan_twins", "register_twins"]


_FLAGS = "POF"
"""argv[0] is kept, the foreign program is handed over open, the twin is opened now."""


class TwinPlan(TypedDict):
    """What `register_twins` is to do for a set.

    `tree` has its programs; `first` is where in it the program is that a header (in hexadecimal) begins with.
    """

    tree: str
    number: int
    first: dict[str, str]


def plan_twins(twin_set: TwinSet) -> TwinPlan:
    """Return what `register_twins` is to do for a set, as JSON can hold it."""
    first = {each.header.hex(): each.starts for each in twin_set.twins}
    return {"tree": str(twin_set.directory / TREE), "number": twin_set.number, "first": first}


def register_twins(mounted: int, plans: Iterable[TwinPlan]) -> None:
    """Register the twins of sets in a binfmt_misc, whose mount is open. The last set is asked first.

    Raises MachineError if a set can't be made, or the kernel refuses a twin.
    """
    for plan in plans:
        try:
            tree = syscalls.open_tree(plan["tree"], syscalls.OPEN_TREE_CLONE)
            try:
                _register(mounted, tree, plan)
            finally:
                os.close(tree)
        except OSError as error:
            raise MachineError(
                f"native twins can't be registered from {plan['tree']}: {error.strerror}"
            ) from error


def _register(mounted: int, tree: int, plan: TwinPlan) -> None:
    flags = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    syscalls.mount_setattr("", syscalls.AT_EMPTY_PATH, dir_fd=tree, attr_set=flags)
    register = os.open(f"/proc/self/fd/{mounted}/register", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for index, (header, path) in enumerate(plan["first"].items()):
            entry = Entry(
                name=f"twin-{plan['number']}-{index}",
                interpreter=f"/proc/self/fd/{tree}{path}",
                flags=_FLAGS,
                magic=bytes.fromhex(header),
            )
            os.write(register, entry.register_line)
    finally:
        os.close(register)
