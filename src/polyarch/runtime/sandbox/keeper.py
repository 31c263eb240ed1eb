"""What the spawner does: starting steps, each by a keeper of its own. See `spawner` for the whole.

The keeper gets the plan of a step and answers with how the step ended. It kills the step when its socket
is closed for writing on the engine's side, which also happens if the engine dies. For a holder (see
`foreign`) there is, in place of the step, a process that sleeps in its user namespace.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
from typing import Any, NoReturn

from polyarch import syscalls
from polyarch.emulation.private import register_private
from polyarch.errors import MachineError
from polyarch.namespaces.userns import namespace_trouble
from polyarch.runtime.base import Refused
from polyarch.runtime.sandbox.descriptors import close_all_but
from polyarch.runtime.sandbox.inside import Lines, become
from polyarch.runtime.sandbox.mounting import make_nodes
from polyarch.runtime.sandbox.nodes import keep_making
from polyarch.runtime.sandbox.plan import INTO_CGROUP, PREPARE, receive_plan

__all__ = ["serve"]

_NAMESPACES = {
    "pid": syscalls.CLONE_NEWPID,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "mount": syscalls.CLONE_NEWNS,
    "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}

_BADNESS = "/proc/self/oom_score_adj"

Json = dict[str, Any]


def serve(requests: socket.socket) -> None:
    """Start a keeper per request, until the engine closes the socket."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers need not be waited for
    os.umask(0o022)  # what is made for a step is for every user in it, whatever the engine's says
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # A collection would write to every object, and so copy the pages that each keeper and step shares with
    # this process; both are gone before they make much garbage.
    gc.disable()
    gc.freeze()
    spawner = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1, 5, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return
        if message == PREPARE:
            continue
        given = descriptors[:-1] if message == INTO_CGROUP else descriptors
        if _fork(descriptors[len(given) :]) == 0:
            requests.close()
            _keep(spawner, *given)
        for fd in descriptors:
            os.close(fd)


def _fork(cgroups: list[int]) -> int:
    """Fork, into a cgroup if there is one; if that is gone the missing answer will tell."""
    if not cgroups:
        return syscalls.fork_bare()
    with contextlib.suppress(OSError):
        return syscalls.fork_into_cgroup(cgroups[0])
    return -1


def _keep(spawner: int, control: int, *streams: int) -> NoReturn:
    """Be the keeper of one step: start it, wait for its end or for the word to end it, answer.

    Without streams, of a holder.
    """
    answer: Json = {"refused": "the sandbox failed"}
    channel = socket.socket(fileno=control)
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != spawner:
            os._exit(1)
        close_all_but(0, 1, 2, control, *streams)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        plan = receive_plan(channel)
        is_step = len(streams) >= 2
        answer = _run(plan, channel, (*streams,)) if is_step else _hold(plan, channel)
    except OSError as error:
        answer = {"refused": f"the step's namespaces can't be made: {namespace_trouble(error)}"}
    finally:
        channel.sendall(json.dumps(answer).encode())
        os._exit(0)


def _run(plan: Json, channel: socket.socket, streams: tuple[int, ...]) -> Json:
    """Make the namespaces, start the step, and return how it ended."""
    for path in plan["cgroups"]:
        try:
            with open(os.path.join(path, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write("0")
        except OSError as error:
            return {"refused": f"the step can't be put into the cgroup {path}: {error.strerror}"}
    with contextlib.ExitStack() as resources:
        maker = _start_maker(plan, resources)
        _enter_namespaces(plan["config"])
        spared = _spare_keeper() if plan["cgroups"] else ""
        alive, hold = os.pipe()
        report, reporter = os.pipe()
        step = syscalls.fork_bare()
        if step == 0:
            _set_badness(spared)
            lines = Lines(reporter=reporter, engine=channel, maker=maker)
            _start(plan, streams, (alive, hold), lines)
        for fd in (*streams, alive, reporter):
            os.close(fd)
        refused = _read_all(report)
        status = _wait(step, channel)
    if refused:
        return {"refused": refused}
    return {"status": status if status >= 0 else 128 - status}


def _start_maker(plan: Json, resources: contextlib.ExitStack) -> socket.socket | None:
    """Start what makes nodes of devices for a step that is going to be in a user namespace, if it needs it.

    Returns where the step sends its listener to.
    """
    wanted = plan.get("nodes")
    if wanted is None:
        return None
    ours, theirs = socket.socketpair()
    maker = syscalls.fork_bare()
    if maker == 0:
        close_all_but(0, 1, 2, theirs.fileno())
        keep_making(theirs, wanted["calls"], wanted["namespace"])
    theirs.close()

    def end() -> None:
        os.kill(maker, signal.SIGKILL)
        os.waitpid(maker, 0)

    resources.callback(end)
    return resources.enter_context(ours)


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


def _enter_namespaces(config: Json) -> None:
    """Join the user namespace that is given, then make the others, which thereby belong to it."""
    namespaces = config["linux"]["namespaces"]
    for each in namespaces:
        if each["type"] == "user":
            _make_devices(config["linux"]["devices"])
            fd = os.open(each["path"], os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(fd, syscalls.CLONE_NEWUSER)
            os.close(fd)
    syscalls.unshare(sum(_NAMESPACES.get(each["type"], 0) for each in namespaces))


def _make_devices(devices: list[Json]) -> None:
    """Give the step fresh devices, in a /dev that only the keeper sees, while that is allowed.

    The machine's own would have to be lent to it otherwise, and root of a namespace that maps every
    id could change their mode.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    syscalls.mount("tmpfs", "/dev", "tmpfs", syscalls.MS_NOSUID, "mode=755")
    folder = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    make_nodes(folder, devices)
    os.close(folder)


def _hold(plan: Json, channel: socket.socket) -> Json:
    """Make a user namespace with handlers; answer once it is there, and end with the channel."""
    ready, ready_writer = os.pipe()
    mapped, mapped_writer = os.pipe()
    keeper = os.getpid()
    sleeper = syscalls.fork_bare()
    if sleeper == 0:
        _sleep_in_namespace(plan, channel, (keeper, ready_writer, mapped))
    os.close(ready_writer)
    if os.read(ready, 1):
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/self/{name}", encoding="ascii") as file:
                count = sum(int(line.split()[2]) for line in file)
            with open(f"/proc/{sleeper}/{name}", "w", encoding="ascii") as file:
                file.write(f"0 0 {count}")
        os.write(mapped_writer, b"+")
    _wait(sleeper, channel)
    return {}


def _sleep_in_namespace(plan: Json, channel: socket.socket, life: tuple[int, int, int]) -> NoReturn:
    """Be the process that keeps a user namespace: `life` is the keeper and two pipes, to and from it."""
    keeper, ready, mapped = life
    answer: Json = {"refused": "the holder failed"}
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        os.write(ready, b"+")
        os.read(mapped, 1)
        register_private((name, bytes.fromhex(line)) for name, line in plan["handlers"])
        answer = {"pid": os.getpid()}
    except OSError as error:
        answer = {"refused": f"a user namespace can't be made: {namespace_trouble(error)}"}
    except MachineError as error:
        answer = {"refused": str(error), "hint": error.hint}
    finally:
        channel.sendall(json.dumps(answer).encode())
        while "pid" in answer:
            signal.pause()
        os._exit(1)


def _start(plan: Json, streams: tuple[int, ...], life: tuple[int, int], lines: Lines) -> NoReturn:
    """Be the step, unless the keeper is gone; what refuses it is written to where `lines` say."""
    refusal = "the sandbox failed"
    try:
        alive, hold = life
        os.close(hold)
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if not select.select([alive], [], [], 0)[0]:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
                signal.signal(number, signal.SIG_DFL)
            become(plan, streams, lines)
    except Refused as error:
        refusal = str(error)
    except Exception as error:  # noqa: BLE001 the process ends here, the engine must hear why
        refusal = f"the sandbox failed: {error!r}"
    finally:
        os.write(lines.reporter, refusal.encode(errors="surrogateescape"))
        os._exit(1)


def _read_all(fd: int) -> str:
    """Read until the other end is closed: empty if the step's program was started."""
    text = b""
    while data := os.read(fd, 4096):
        text += data
    os.close(fd)
    return text.decode(errors="replace")


def _wait(step: int, channel: socket.socket) -> int:
    """Wait for the step; kill it once the engine has closed its side of the channel."""
    pidfd = os.pidfd_open(step)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(channel, select.POLLIN)
    while pidfd not in {fd for fd, _ in poll.poll()}:
        os.kill(step, signal.SIGKILL)
        poll.unregister(channel)
    _, status = os.waitpid(step, 0)
    return os.waitstatus_to_exitcode(status)
