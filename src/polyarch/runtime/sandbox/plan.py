"""The talk between the engine, the spawner and what runs a step: a word, then a plan, then an answer.

The engine asks the spawner with a word of two bytes, and passes it the descriptors that the step is to have;
one of them is a socket. Over that comes the plan (its length in 8 bytes, then JSON), and back goes one answer
(JSON).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Mapping

from polyarch.record import frozen

__all__ = [
    "ANSWER_LIMIT",
    "HANDED_PROCESS",
    "HANDED_TERMINAL",
    "INTO_CGROUP",
    "KEPT",
    "PLAIN",
    "PREPARE",
    "STEP",
    "WORD_LENGTH",
    "Waited",
    "answer",
    "answer_lost",
    "receive_plan",
    "send_plan",
    "wait_for",
]

_HEADER = struct.Struct("=Q")
"""The length, in bytes, of the plan that follows."""
ANSWER_LIMIT = 65536
"""Bytes of the longest answer: a refusal quotes paths of the step, and those are at most 4 KiB each."""
STEP, KEPT, PREPARE = b"s", b"k", b"p"
"""What is asked of the spawner: a step, a keeper (of a step or a holder), or to be ready for either."""
PLAIN, INTO_CGROUP = b"-", b"c"
"""Where it is started: in the spawner's cgroup, or in that whose directory is the last descriptor."""
WORD_LENGTH = 2
HANDED_TERMINAL, HANDED_PROCESS = b" ", b"\n"
"""What comes with a descriptor that a step hands out; to who reads the answer behind it, it is white space."""


def send_plan(control: socket.socket, plan: bytes) -> None:
    """Send a plan, as JSON.

    If it can't be sent, nobody is there any more; the engine learns that by the missing answer.
    """
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.sendall(_HEADER.pack(len(plan)) + plan)


def receive_plan(channel: socket.socket) -> bytes:
    """Wait for the plan of a step, and return it as JSON."""
    (length,) = _HEADER.unpack(channel.recv(_HEADER.size, socket.MSG_WAITALL))
    return channel.recv(length, socket.MSG_WAITALL)


@frozen
class Waited:
    """How a process ended: its status, negative for a signal, and the seconds of CPU that it and its descendants took.

    Of the first process of a PID namespace these are all that ended before it: the kernel doesn't add up those that
    it kills with it.
    """

    status: int = 0
    cpu: float = 0.0


def wait_for(process: int) -> Waited:
    """Wait for a child's end."""
    _, status, usage = os.wait4(process, 0)
    cpu = usage.ru_utime + usage.ru_stime
    return Waited(status=os.waitstatus_to_exitcode(status), cpu=cpu)


def answer(channel: socket.socket, refused: str, ended: Waited) -> None:
    """Tell the engine how a step ended: what refused it, else its status.

    Doesn't wait: an answer always finds room, and an engine that is gone needs none.
    """
    told: dict[str, object] = {"refused": refused}
    if not refused:
        status = ended.status
        told = {"status": status if status >= 0 else 128 - status, "cpu": ended.cpu}
    _send(channel, told)


def answer_lost(channel: socket.socket, why: str) -> None:
    """Tell the engine that a step has no answer of its own: what should have given it isn't there. Doesn't wait."""
    _send(channel, {"lost": why})


def _send(channel: socket.socket, told: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):
        channel.send(json.dumps(told).encode(), socket.MSG_DONTWAIT)
