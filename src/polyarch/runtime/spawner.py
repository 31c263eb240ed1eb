"""The process that starts steps: forked from the engine before that has threads, small, and alone.

    engine ──socket──▶ spawner ──fork──▶ keeper, one per step ──fork──▶ the step, PID 1 of its namespaces

The spawner receives, per step, three descriptors: the write ends of its output, and a socket on which
the keeper gets the plan and answers with how the step ended. The keeper kills the step when the socket
is closed for writing on the engine's side, which also happens if the engine dies. Each process is killed
with its parent. The kernel ends all other processes of a step with its PID 1.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
from typing import Any, NoReturn

from polyarch import syscalls
from polyarch.runtime.inside import Refused, become

__all__ = ["ANSWER_LIMIT", "PLAN_HEADER", "start_spawner"]

PLAN_HEADER = struct.Struct("=Q")
"""The length, in bytes, of the plan that follows."""
ANSWER_LIMIT = 65536

_NAMESPACES = {
    "pid": syscalls.CLONE_NEWPID,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "mount": syscalls.CLONE_NEWNS,
    "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}

Json = dict[str, Any]


def start_spawner() -> socket.socket:
    """Fork the spawner and return the socket over which it is asked; closing that ends it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    engine = os.getpid()
    if os.fork():
        theirs.close()
        return ours
    try:
        ours.close()
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() == engine:
            _spawn_forever(theirs)
    finally:
        os._exit(0)


def _spawn_forever(requests: socket.socket) -> None:
    """Start a keeper per request, until the engine closes the socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        # What the terminal sends is for the engine to decide on.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers need not be waited for
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.disable()
    gc.freeze()
    spawner = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            _keep(spawner, *descriptors)
        for fd in descriptors:
            os.close(fd)


def _keep(spawner: int, stdout: int, stderr: int, control: int) -> NoReturn:
    """Be the keeper of one step: start it, wait for its end or for the word to end it, answer."""
    answer: Json = {"refused": "the sandbox failed"}
    channel = socket.socket(fileno=control)
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != spawner:
            os._exit(1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        plan = _receive(channel)
        answer = _run(plan, channel, (stdout, stderr))
    except OSError as error:
        answer = {"refused": f"the step's namespaces can't be made: {error}"}
    finally:
        channel.sendall(json.dumps(answer).encode())
        os._exit(0)


def _receive(channel: socket.socket) -> Json:
    (length,) = PLAN_HEADER.unpack(channel.recv(PLAN_HEADER.size, socket.MSG_WAITALL))
    plan: Json = json.loads(channel.recv(length, socket.MSG_WAITALL))
    return plan


def _run(plan: Json, channel: socket.socket, streams: tuple[int, int]) -> Json:
    """Make the namespaces, start the step, and return how it ended."""
    for path in plan["cgroups"]:
        with open(os.path.join(path, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write("0")
    _enter_namespaces(plan["config"]["linux"]["namespaces"])
    alive, hold = os.pipe()
    report, reporter = os.pipe()
    step = os.fork()
    if step == 0:
        _start(plan, streams, (alive, hold), reporter)
    for fd in (*streams, alive, reporter):
        os.close(fd)
    refused = _read_all(report)
    status = _wait(step, channel)
    if refused:
        return {"refused": refused}
    return {"status": status if status >= 0 else 128 - status}


def _enter_namespaces(namespaces: list[Json]) -> None:
    """Join the user namespace that is given, then make the others, which thereby belong to it."""
    for each in namespaces:
        if each["type"] == "user":
            fd = os.open(each["path"], os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(fd, syscalls.CLONE_NEWUSER)
            os.close(fd)
    syscalls.unshare(sum(_NAMESPACES.get(each["type"], 0) for each in namespaces))


def _start(plan: Json, streams: tuple[int, int], life: tuple[int, int], reporter: int) -> NoReturn:
    """Be the step; what refuses it is written to `reporter`, which exec closes."""
    refusal = "the sandbox failed"
    try:
        alive, hold = life
        os.close(hold)
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if not select.select([alive], [], [], 0)[0]:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
                signal.signal(number, signal.SIG_DFL)
            become(plan["config"], bytes.fromhex(plan["seccomp"]), streams)
    except Refused as error:
        refusal = str(error)
    except Exception as error:  # noqa: BLE001 the process ends here, the engine must hear why
        refusal = f"the sandbox failed: {error!r}"
    finally:
        os.write(reporter, refusal.encode(errors="surrogateescape"))
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
