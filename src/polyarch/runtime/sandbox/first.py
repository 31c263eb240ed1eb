"""What a step's first process does before it is the step's own.

It closes all that it has inherited but what it needs, sees to it that it dies with who forked it, gets its
plan, and joins its cgroups and namespaces.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterable
from typing import NoReturn

from polyarch import syscalls
from polyarch.record import frozen
from polyarch.runtime.base import Refused
from polyarch.runtime.configuration import Config, Plan
from polyarch.runtime.sandbox.descriptors import close_all_but
from polyarch.runtime.sandbox.inside import Lines, become

__all__ = [
    "Parent",
    "begin",
    "enter_namespaces",
    "join_cgroups",
    "join_network",
    "join_step",
    "read_report",
]

_NAMESPACES = {
    "pid": syscalls.CLONE_NEWPID,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "mount": syscalls.CLONE_NEWNS,
    "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
_PR_SET_DUMPABLE = 4


@frozen
class Parent:
    """The pipes between a step's first process and who forked it.

    `alive` is at its end once the other one is gone; `reporter` takes what refuses the step, and is
    closed by exec.
    """

    alive: int
    reporter: int


def begin(
    parent: Parent,
    channel: socket.socket,
    streams: tuple[int, ...],
    prepare: Callable[[], Plan],
    listening: socket.socket | None = None,
    own_program: os.stat_result | None = None,
) -> NoReturn:
    """Be the step's first process, and then the step, unless the parent is gone.

    `prepare` gives the plan, once the process is where the step is to be. What refuses the step is
    reported. `own_program` is what this process runs by, where its /proc is no longer the machine's.
    """
    refusal = "the sandbox failed"
    lines = Lines(reporter=parent.reporter, engine=channel, listening=listening)
    try:
        # At once: from here on a mistake can lead nowhere.
        close_all_but(0, 1, 2, parent.alive, *streams, *lines.descriptors())
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if not select.select([parent.alive], [], [], 0)[0]:
            # The spawner ignores these, which an exec hands on; a step is to die of them like any program.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
                signal.signal(number, signal.SIG_DFL)
            become(prepare(), streams, lines, own_program)
    except Refused as error:
        refusal = str(error)
    except Exception as error:  # noqa: BLE001 the process ends here, the engine must hear why
        refusal = f"the sandbox failed: {error!r}"
    finally:
        os.write(parent.reporter, refusal.encode(errors="surrogateescape"))
        os._exit(1)


def read_report(descriptor: int) -> str:
    """Read and close the other end of a reporter: empty if the step's program was started."""
    text = b""
    while data := os.read(descriptor, 4096):
        text += data
    os.close(descriptor)
    return text.decode(errors="replace")


def join_cgroups(directories: Iterable[str]) -> None:
    """Put the caller into cgroups. Raises Refused."""
    for path in directories:
        try:
            with open(os.path.join(path, "cgroup.procs"), "w", encoding="ascii") as file:
                # The caller itself; a number could be another process by the time that it is read.
                file.write("0")
        except OSError as error:
            raise Refused(
                f"the step can't be put into the cgroup {path}: {error.strerror}"
            ) from error


def join_network(config: Config) -> None:
    """Join the network that is there already, if the step has one; before a user namespace, which has no right to."""
    for each in config["linux"]["namespaces"]:
        if each["type"] == "network" and "path" in each:
            fd = os.open(each["path"], os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
            os.close(fd)


def enter_namespaces(config: Config, *, but: int = 0) -> None:
    """Make the namespaces of a step that have no path, except those in `but` (CLONE_NEW...)."""
    namespaces = [each for each in config["linux"]["namespaces"] if "path" not in each]
    wanted = sum(_NAMESPACES.get(each["type"], 0) for each in namespaces)
    if wanted & ~but:  # else the call may be refused all the same
        syscalls.unshare(wanted & ~but)


def join_step(process: int, config: Config) -> None:
    """Join the root and all namespaces of a step that runs, by a descriptor of its first process.

    Those who run in them must see nothing of what the caller is (the class of CVE-2019-5736): until it executes the
    step's program, nobody but who may trace everything can look at its memory, descriptors and program.
    """
    syscalls.prctl(_PR_SET_DUMPABLE, 0)
    join_network(config)
    listed = config["linux"]["namespaces"]
    wanted = sum(_NAMESPACES.get(each["type"], 0) for each in listed if "path" not in each)
    if any(each["type"] == "user" for each in listed):
        wanted |= syscalls.CLONE_NEWUSER
    syscalls.setns(process, wanted)
