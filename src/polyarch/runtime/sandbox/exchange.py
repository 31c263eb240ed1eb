"""The engine's talk with a step while it runs: what it prints, what it is told, and how it ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

from polyarch.errors import NoRuntime
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.talk import Talk
from polyarch.runtime.base import Ended, OnOutput, refused_step
from polyarch.runtime.feed import Feed
from polyarch.runtime.sandbox.plan import ANSWER_LIMIT, HANDED_TERMINAL, send_plan
from polyarch.runtime.sandbox.spawner import Spawner

__all__ = ["Start", "exchange", "how_it_ended"]

_CHUNK = 65536
_KILLED = 128 + 9


@frozen
class Start:
    """How a step is started: its plan, the cgroup (whose directory is open) if any, and whether by a keeper."""

    plan: bytes
    cgroup: int | None = None
    is_kept: bool = False


def exchange(
    spawner: Spawner, start: Start, on_output: OnOutput, cancel: CancelToken, talk: Talk
) -> bytes:
    """Have a step started, and hand over its output until it has ended; return the answer about it."""
    with contextlib.ExitStack() as resources:
        control, outputs = _request(spawner, start, talk, resources)
        resources.callback(cancel.on_cancel(lambda: _end(control)))
        send_plan(control, start.plan)

        def on_handed(what: bytes, descriptor: int) -> bool:
            resources.callback(os.close, descriptor)
            if what != HANDED_TERMINAL:
                if talk.on_started is not None:
                    talk.on_started(descriptor)
                return False
            talk.on_terminal(descriptor)
            if talk.stdin is not None:
                resources.enter_context(Feed(talk.stdin, os.dup(descriptor)))
            return True

        return _follow(control, outputs, on_output, on_handed)


def _request(
    spawner: Spawner, start: Start, talk: Talk, resources: contextlib.ExitStack
) -> tuple[socket.socket, tuple[int, int]]:
    """Have a step started; return its control socket and the read ends of the two outputs.

    What is ours of them is left to `resources`.
    """
    with contextlib.ExitStack() as theirs_only, contextlib.ExitStack() as on_failure:
        ours, theirs = socket.socketpair()
        theirs_only.enter_context(theirs)
        on_failure.enter_context(ours)
        writers, readers = [], []
        for _ in ("stdout", "stderr"):
            reader, writer = os.pipe()
            theirs_only.callback(os.close, writer)
            on_failure.callback(os.close, reader)
            writers.append(writer)
            readers.append(reader)
        if talk.stdin is not None and talk.terminal is None:
            reader, writer = os.pipe()
            theirs_only.callback(os.close, reader)
            writers.append(reader)
            on_failure.enter_context(Feed(talk.stdin, writer))
        beside = [] if talk.beside is None else [talk.beside]
        given = [theirs.fileno(), *writers, *beside]
        spawner.ask(given, cgroup=start.cgroup, kept=start.is_kept)
        resources.push(on_failure.pop_all())
    return ours, (readers[0], readers[1])


def _end(control: socket.socket) -> None:
    """Have the step killed; the answer can still be read."""
    try:
        control.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _follow(
    control: socket.socket,
    outputs: tuple[int, int],
    on_output: OnOutput,
    on_handed: Callable[[bytes, int], bool],
) -> bytes:
    """Hand over the output until it and the control socket are closed; return the answer.

    Before that the control socket may bring descriptors; `on_handed` says whether output comes from one, which is our
    end of the step's terminal.
    """
    answer = b""
    with selectors.DefaultSelector() as selector:
        for stream, fd in enumerate(outputs, start=1):
            selector.register(fd, selectors.EVENT_READ, stream)
        selector.register(control, selectors.EVENT_READ, 0)
        while selector.get_map():
            for key, _ in selector.select():
                data, handed = _read(control) if key.data == 0 else (_read_from(key.fd), [])
                for each in handed:
                    if on_handed(data, each):
                        selector.register(each, selectors.EVENT_READ, 1)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data == 0:
                    answer += data
                else:
                    on_output(key.data, data)
    return answer


def _read(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        return socket.recv_fds(control, ANSWER_LIMIT, 1, socket.MSG_CMSG_CLOEXEC)[:2]
    except ConnectionResetError:
        return b"", []


def _read_from(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:  # nobody has the terminal open any more
            return b""
        raise


def how_it_ended(answer: bytes, out_of_memory: bool, on_output: OnOutput) -> Ended:
    """Return how a step ended by the answer about it. Raises NoRuntime if there is none."""
    known: dict[str, Any] = (
        json.loads(answer) if answer else {"lost": "the process that starts steps has ended"}
    )
    if lost := known.get("lost", ""):
        if out_of_memory:  # with the keeper the step has ended, too
            return Ended(status=_KILLED, out_of_memory=True)
        raise NoRuntime(lost)
    if refused := known.get("refused", ""):
        return refused_step(refused, on_output)
    return Ended(status=known["status"], out_of_memory=out_of_memory, cpu_seconds=known["cpu"])
