"""What the spawner does: starting steps, ending them when the engine says so, and telling how they ended.

A step's first process is cloned straight into a new PID namespace. Where it has to join a user namespace
first, and for holders, there is a *keeper* between (see there). The engine says that a step is to end by
closing its socket for writing, which also happens if the engine dies.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
from typing import NoReturn

from polyarch import syscalls
from polyarch.namespaces.causes import namespace_trouble
from polyarch.namespaces.userns import count_ids
from polyarch.record import frozen
from polyarch.runtime.base import Refused
from polyarch.runtime.configuration import Plan
from polyarch.runtime.sandbox.first import (
    Parent,
    begin,
    enter_namespaces,
    join_cgroups,
    join_network,
    read_report,
)
from polyarch.runtime.sandbox.keeper import keep
from polyarch.runtime.sandbox.plan import (
    INTO_CGROUP,
    KEPT,
    PREPARE,
    WORD_LENGTH,
    Waited,
    answer,
    answer_lost,
    receive_plan,
    wait_for,
)

__all__ = ["serve"]

_STREAM = (socket.AF_UNIX, socket.SOCK_STREAM)
_MOST_GIVEN = 6
"""Descriptors that a step may be given: its socket, three streams, whom it is beside, and its cgroup."""


def serve(requests: socket.socket) -> None:
    """Start what is asked for, until the engine closes the socket."""
    os.umask(0o022)  # what is made for a step is for every user in it, whatever the engine's says
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # A collection would write to every object, and so copy the pages that each step shares with this process;
    # a step's first process is gone before it makes much garbage.
    gc.disable()
    if count_ids() == 1:
        # Each step needs it, in a process of its own.
        import polyarch.runtime.sandbox.owners  # noqa: F401, PLC0415
    gc.freeze()
    server = _Server(requests)
    while server.is_asked:
        server.turn()


@frozen
class _Running:
    """A process that was started: a step, or a keeper (`is_kept`), which tells the engine itself unless it is killed.

    `report` brings what refuses the step; `hold` lets the step know that the spawner lives.
    """

    pid: int
    pidfd: int
    channel: socket.socket
    report: int = -1
    hold: int = -1
    is_kept: bool = False


class _Server:
    def __init__(self, requests: socket.socket) -> None:
        self.is_asked = True
        self._requests = requests
        self._running: dict[int, _Running] = {}
        """By the descriptors that are waited for: of the process, and of its channel."""
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)

    def turn(self) -> None:
        """Wait for something, and do what it asks for."""
        ready = [descriptor for descriptor, _ in self._poll.poll()]
        for descriptor in ready:
            running = self._running.get(descriptor)
            if running is None:
                continue  # a request, or it has ended in this very turn
            if descriptor == running.pidfd:
                self._end(running)
            else:
                # The engine has closed its side. What is left is to see it end.
                self._forget(descriptor)
                signal.pidfd_send_signal(running.pidfd, signal.SIGKILL)
        # Last: the descriptors of what is started now may be those of what has just ended.
        if self._requests.fileno() in ready:
            self._take()

    def _take(self) -> None:
        word, descriptors, _, _ = socket.recv_fds(
            self._requests, WORD_LENGTH, _MOST_GIVEN, socket.MSG_CMSG_CLOEXEC
        )
        if not word:
            self.is_asked = False
        elif word[:1] != PREPARE:
            cgroup = descriptors.pop() if word[1:] == INTO_CGROUP else None
            start = self._start_keeper if word[:1] == KEPT else self._start_step
            # Without an answer the engine knows that there is no keeper.
            with contextlib.suppress(OSError):
                start(descriptors, cgroup)
            for descriptor in (*descriptors, *([] if cgroup is None else [cgroup])):
                os.close(descriptor)

    def _start_keeper(self, descriptors: list[int], cgroup: int | None) -> None:
        spawner = os.getpid()
        channel = socket.socket(*_STREAM, fileno=os.dup(descriptors[0]))
        try:
            pid, pidfd = syscalls.clone(cgroup=cgroup)
        except OSError as error:
            with channel:
                answer_lost(channel, f"no process can be started for a step: {error.strerror}")
            return
        if pid == 0:
            try:
                keep(spawner, *descriptors)
            finally:
                os._exit(1)
        self._expect(pidfd, _Running(pid=pid, pidfd=pidfd, channel=channel, is_kept=True))

    def _start_step(self, descriptors: list[int], cgroup: int | None) -> None:
        channel = socket.socket(*_STREAM, fileno=descriptors.pop(0))
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as on_failure:
            on_failure.enter_context(channel)
            alive, hold = os.pipe()
            theirs.callback(os.close, alive)
            on_failure.callback(os.close, hold)
            report, reporter = os.pipe()
            theirs.callback(os.close, reporter)
            on_failure.callback(os.close, report)
            try:
                pid, pidfd = syscalls.clone(syscalls.CLONE_NEWPID, cgroup=cgroup)
            except OSError as error:
                answer(channel, _no_namespaces(error), Waited())
                return
            if pid == 0:
                try:
                    _be(Parent(alive=alive, reporter=reporter), channel, tuple(descriptors))
                finally:
                    os._exit(1)
            on_failure.pop_all()
        running = _Running(pid=pid, pidfd=pidfd, channel=channel, report=report, hold=hold)
        self._expect(pidfd, running)
        self._running[channel.fileno()] = running
        self._poll.register(channel, select.POLLRDHUP)

    def _expect(self, pidfd: int, running: _Running) -> None:
        self._running[pidfd] = running
        self._poll.register(pidfd, select.POLLIN)

    def _forget(self, descriptor: int) -> None:
        if self._running.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _end(self, running: _Running) -> None:
        ended = wait_for(running.pid)
        self._forget(running.pidfd)
        os.close(running.pidfd)
        if running.is_kept:
            with running.channel:
                if ended.status:
                    answer_lost(running.channel, f"the process that minds the step {_how(ended)}")
            return
        self._forget(running.channel.fileno())
        os.close(running.hold)
        with running.channel:
            answer(running.channel, read_report(running.report), ended)


def _be(parent: Parent, channel: socket.socket, streams: tuple[int, ...]) -> NoReturn:
    """Be a step in a PID namespace of its own."""

    def prepare() -> Plan:
        plan: Plan = json.loads(receive_plan(channel))
        join_cgroups(plan["cgroups"])
        try:
            join_network(plan["config"])
            enter_namespaces(plan["config"], but=syscalls.CLONE_NEWPID)
        except OSError as error:
            raise Refused(_no_namespaces(error)) from error
        return plan

    begin(parent, channel, streams, prepare)


def _how(ended: Waited) -> str:
    if ended.status < 0:
        return f"was killed by signal {-ended.status}"
    return f"ended with status {ended.status}"


def _no_namespaces(error: OSError) -> str:
    return f"the step's namespaces can't be made: {namespace_trouble(error)}"
