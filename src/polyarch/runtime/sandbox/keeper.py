"""Steps in a user namespace that is there already, and holders of such namespaces. See `spawner` for the whole.

The PID namespace of a step has to belong to the user namespace that the step joins, so a process joins that
first, and forks the step then: its keeper. It gets the plan of the step, answers with how the step ended, and
kills it when its socket is closed for writing on the engine's side. For a holder (see `foreign`) there is, in
place of the step, a process that sleeps in its user namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import NoReturn

from polyarch import syscalls
from polyarch.emulation.private import register_private
from polyarch.errors import MachineError
from polyarch.namespaces.causes import namespace_trouble
from polyarch.namespaces.waiting import end_orphans
from polyarch.record import frozen
from polyarch.runtime.base import Refused
from polyarch.runtime.configuration import Config, Device, Handing, HolderPlan, Plan
from polyarch.runtime.sandbox.descriptors import close_all_but
from polyarch.runtime.sandbox.first import (
    Parent,
    begin,
    enter_namespaces,
    join_cgroups,
    join_network,
    join_step,
    read_report,
)
from polyarch.runtime.sandbox.listening import Handler, keep_listening
from polyarch.runtime.sandbox.mounting import make_nodes
from polyarch.runtime.sandbox.plan import Waited, answer, receive_plan, wait_for
from polyarch.twins.registration import register_twins

__all__ = ["keep"]

_BADNESS = "/proc/self/oom_score_adj"


def keep(spawner: int, control: int, *streams: int) -> NoReturn:
    """Be the keeper of one step: start it, wait for its end or for the word to end it, answer.

    Without streams, of a holder.
    """
    channel = socket.socket(fileno=control)
    refused, ended = "the sandbox failed", Waited()
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        # It may have ended before its death was to be heard of.
        if os.getppid() != spawner:
            os._exit(1)
        close_all_but(0, 1, 2, control, *streams)
        plan = json.loads(receive_plan(channel))
        if len(streams) < 2:
            _hold(plan, channel)
            os._exit(0)
        refused, ended = _run(plan, channel, streams)
    except Refused as error:
        refused = str(error)
    except OSError as error:
        refused = f"the step's namespaces can't be made: {namespace_trouble(error)}"
    finally:
        answer(channel, refused, ended)
        os._exit(0)


def _run(plan: Plan, channel: socket.socket, streams: tuple[int, ...]) -> tuple[str, Waited]:
    """Join the user namespace, start the step; return what refused it, and how it ended. Raises Refused.

    The last of the `streams` of a step that is beside another one is that one's first process.
    """
    own_program = os.stat("/proc/self/exe")
    beside = streams[-1] if plan.get("beside") else None
    given = streams if beside is None else streams[:-1]
    join_cgroups(plan["cgroups"])
    with contextlib.ExitStack() as resources:
        # Before the user namespace: what it does for the step it does with the rights that we have out here.
        listener = _start_listener(plan, resources)
        if beside is None:
            join_network(plan["config"])
            _join_user_namespace(plan["config"])
            enter_namespaces(plan["config"])
        else:
            join_step(beside, plan["config"])
        spared = _spare_keeper() if plan["cgroups"] and beside is None else ""
        is_alone = any(each["type"] == "pid" for each in plan["config"]["linux"]["namespaces"])
        if not is_alone:
            # No PID namespace ends what the step leaves behind: it becomes ours.
            syscalls.set_child_subreaper()
        # Nobody writes to it: it is at its end when this process is gone, however that ends.
        alive, _hold_open = os.pipe()
        report, reporter = os.pipe()
        step = syscalls.fork_bare()
        if step == 0:
            _set_badness(spared)
            parent = Parent(alive=alive, reporter=reporter)
            begin(parent, channel, given, lambda: plan, listener, own_program)
        # An end that stays open here would keep the reader waiting after the step has ended.
        for fd in (*streams, alive, reporter):
            os.close(fd)
        refused = read_report(report)
        ended = _wait(step, channel)
        if not is_alone:
            end_orphans()
    return refused, ended


def _start_listener(plan: Plan, resources: contextlib.ExitStack) -> socket.socket | None:
    """Start what answers the calls that the step's filter hands over, if it does.

    Returns where the step sends its listener to.
    """
    wanted = plan.get("handed")
    if wanted is None:
        return None
    ours, theirs = socket.socketpair()
    process = syscalls.fork_bare()
    if process == 0:
        close_all_but(0, 1, 2, theirs.fileno())
        keep_listening(theirs, wanted["calls"], _handlers(wanted))
    theirs.close()

    def end() -> None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)

    resources.callback(end)
    return resources.enter_context(ours)


def _handlers(wanted: Handing) -> Mapping[str, Handler]:
    # Most steps hand over nothing.
    if wanted["what"] == "nodes":
        from polyarch.runtime.sandbox.nodes import node_handlers  # noqa: PLC0415

        return node_handlers(wanted["namespace"])
    from polyarch.runtime.sandbox.owners import owner_handlers  # noqa: PLC0415

    return owner_handlers(wanted["stat"])


def _spare_keeper() -> str:
    """Have the kernel kill the step, and not its keeper, for want of memory in their cgroup.

    Returns what the step is to have instead. Only root may ask for it.
    """
    with open(_BADNESS, encoding="ascii") as file:
        before = file.read()
    _set_badness("-1000")
    return before


def _set_badness(value: str) -> None:
    if value:
        with contextlib.suppress(OSError), open(_BADNESS, "w", encoding="ascii") as file:
            file.write(value)


def _join_user_namespace(config: Config) -> None:
    """Join the user namespace that is given; those that are made later belong to it."""
    for each in config["linux"]["namespaces"]:
        if each["type"] == "user":
            if syscalls.in_initial_user_namespace():
                _make_devices(config["linux"]["devices"])
            fd = os.open(each["path"], os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(fd, syscalls.CLONE_NEWUSER)
            os.close(fd)


def _make_devices(devices: list[Device]) -> None:
    """Give the step fresh devices, in a /dev that only the keeper sees, while that is allowed.

    The machine's own would have to be lent to it otherwise, and root of a namespace that maps every
    id could change their mode.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    syscalls.mount("tmpfs", "/dev", "tmpfs", syscalls.MS_NOSUID, "mode=755")
    directory = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    make_nodes(directory, devices)
    os.close(directory)


def _hold(plan: HolderPlan, channel: socket.socket) -> None:
    """Make a user namespace with handlers; have it answer once it is there, and end with the channel."""
    ready, ready_writer = os.pipe()
    mapped, mapped_writer = os.pipe()
    keeper = os.getpid()
    sleeper = syscalls.fork_bare()
    if sleeper == 0:
        _sleep_in_namespace(plan, channel, _Life(keeper=keeper, ready=ready_writer, mapped=mapped))
    os.close(ready_writer)
    if os.read(ready, 1):
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/self/{name}", encoding="ascii") as file:
                ranges = [line.split() for line in file]
            with open(f"/proc/{sleeper}/{name}", "w", encoding="ascii") as file:
                file.write("".join(f"{first} {first} {count}\n" for first, _, count in ranges))
        os.write(mapped_writer, b"+")
    _wait(sleeper, channel)


@frozen
class _Life:
    """What a process that keeps a namespace has of its keeper: its id, a pipe to it and one from it."""

    keeper: int
    ready: int
    mapped: int


def _sleep_in_namespace(plan: HolderPlan, channel: socket.socket, life: _Life) -> NoReturn:
    """Be the process that keeps a user namespace."""
    told: dict[str, object] = {"refused": "the holder failed"}
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != life.keeper:
            os._exit(1)
        os.write(life.ready, b"+")
        os.read(life.mapped, 1)
        lines = ((name, bytes.fromhex(line)) for name, line in plan["handlers"])
        register_twins(register_private(lines), plan["twins"])
        told = {"pid": os.getpid()}
    except OSError as error:
        told = {"refused": f"a user namespace can't be made: {namespace_trouble(error)}"}
    except MachineError as error:
        told = {"refused": str(error), "hint": error.hint}
    finally:
        channel.sendall(json.dumps(told).encode())
        while "pid" in told:
            signal.pause()
        os._exit(1)


def _wait(step: int, channel: socket.socket) -> Waited:
    """Wait for the step; kill it once the engine has closed its side of the channel."""
    pidfd = os.pidfd_open(step)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(channel, select.POLLIN)
    while pidfd not in {fd for fd, _ in poll.poll()}:
        os.kill(step, signal.SIGKILL)
        poll.unregister(channel)
    return wait_for(step)
