"""What makes a new process in a machine the step's: its directory, its limits, its rights and its program.

Like all of a step's there, these are calls added to a program for the agent.
"""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Iterable

from polyarch.runtime.capability import CAPABILITIES
from polyarch.runtime.configuration import Limit, Process
from polyarch.runtime.vm.batch import Batch, make_way
from polyarch.runtime.vm.program import Label

__all__ = ["drop_privileges", "enter_directory", "execute", "set_limits"]

_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _RAISE = 8, 24, 47, 2
_CAPABILITY_VERSION = 0x20080522
_ENOENT, _ENOTDIR = -2, -20
_LIMIT_LOCKS = 10


def enter_directory(batch: Batch, path: str) -> None:
    """Add: change to a directory, which is made if it isn't there."""
    make_way(batch.program, f"{path.rstrip('/')}/.", is_file=False)
    batch.do("chdir", batch.program.text(path), to=f"enter the working directory {path}")


def set_limits(batch: Batch, limits: Iterable[Limit]) -> None:
    """Add the limits that processes have here, then those that are asked for."""
    program = batch.program
    for number in range(resource.RLIMIT_RTPRIO + 2):
        try:
            own = struct.pack("<qq", *resource.getrlimit(number))
        except ValueError:
            continue
        program.call("prlimit64", 0, number, program.data(own), 0)
    for limit in limits:
        name = limit["type"]
        number = _LIMIT_LOCKS if name == "RLIMIT_LOCKS" else getattr(resource, name)
        wanted = program.data(struct.pack("<QQ", limit["soft"], limit["hard"]))
        what = f"set ulimit {name.removeprefix('RLIMIT_').lower()}"
        batch.do("prlimit64", 0, number, wanted, 0, to=what)


def drop_privileges(batch: Batch, process: Process) -> None:
    """Add: keep the capabilities of the configuration and no others, and become its user."""
    program = batch.program
    user, capabilities = process["user"], process["capabilities"]
    bounding = capabilities["bounding"]
    for number, name in enumerate(CAPABILITIES):
        if bounding is not None and f"CAP_{name}" not in bounding:
            program.call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)
    if capabilities["ambient"]:
        batch.do("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0, to="keep its rights")
    groups = user["additionalGids"]
    numbers = program.data(struct.pack(f"<{len(groups)}I", *groups))
    batch.do("setgroups", len(groups), numbers, to="have its groups")
    batch.do("setresgid", *[user["gid"]] * 3, to="have its group")
    batch.do("setresuid", *[user["uid"]] * 3, to="become its user")
    inherited = _bits(capabilities["inheritable"])
    if user["uid"] == 0 or inherited:
        sets = [_bits(capabilities[each]) for each in ("effective", "permitted")]
        halves = [(each >> shift) & 0xFFFFFFFF for shift in (0, 32) for each in (*sets, inherited)]
        header = program.data(struct.pack("<II", _CAPABILITY_VERSION, 0))
        batch.do("capset", header, program.data(struct.pack("<6I", *halves)), to="give up rights")
    for name in capabilities["ambient"]:
        number = CAPABILITIES.index(name.removeprefix("CAP_"))
        program.call("prctl", _PR_CAP_AMBIENT, _RAISE, number, 0, 0)


def execute(batch: Batch, process: Process) -> None:
    """Add: start the program, looked up on its own PATH; the error that counts is the last word.

    That is the first which doesn't only say that there is nothing.
    """
    program = batch.program
    name = process["args"][0]
    environment = dict(each.partition("=")[::2] for each in process["env"])
    paths = [""] if "/" in name else environment.get("PATH", "").split(":")
    words = program.pointers(process["args"])
    variables = program.pointers(process["env"])
    missing, found = program.word(_ENOENT), program.word()
    for path in paths:
        full = program.text(os.path.join(path, name))
        result = program.call("execve", full, words, variables)
        absent, perhaps, other, first, next_one = (Label() for _ in range(5))
        program.branch_equal(result, _ENOENT, absent, perhaps)
        program.place(perhaps)
        program.branch_equal(result, _ENOTDIR, absent, other)
        program.place(other)
        program.branch_equal(found, 0, first, next_one)
        program.place(first)
        program.set(found, result)
        program.jump(next_one)
        program.place(absent)
        program.set(missing, result)
        program.place(next_one)
    nothing, done = Label(), Label()
    program.set(batch.error, found)
    program.branch_equal(found, 0, nothing, done)
    program.place(nothing)
    program.set(batch.error, missing)
    program.place(done)
    program.set(batch.stage, 0)


def _bits(names: Iterable[str]) -> int:
    return sum(1 << CAPABILITIES.index(name.removeprefix("CAP_")) for name in names)
