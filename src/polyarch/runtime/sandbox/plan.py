"""The talk between the engine, the spawner and a keeper: a word, then a plan, then an answer.

The engine asks the spawner with one word of a byte, and passes it the descriptors that a keeper is to have;
one of them is a socket. Over that the keeper gets its plan (its length in 8 bytes, then JSON) and gives
one answer (JSON).
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from typing import Any

__all__ = ["ANSWER_LIMIT", "INTO_CGROUP", "PLAIN", "PREPARE", "receive_plan", "send_plan"]

Json = dict[str, Any]

_HEADER = struct.Struct("=Q")
"""The length, in bytes, of the plan that follows."""
ANSWER_LIMIT = 65536
"""Bytes of the longest answer: a refusal quotes paths of the step, and those are at most 4 KiB each."""
PLAIN, INTO_CGROUP, PREPARE = b"+", b"c", b"p"
"""What is asked of the spawner: a keeper, one in the cgroup whose directory is the last descriptor, or
to be ready when one is asked for."""


def send_plan(control: socket.socket, plan: bytes) -> None:
    """Send a keeper its plan, as JSON.

    If it can't be sent, the keeper is gone; the engine learns that by the missing answer.
    """
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.sendall(_HEADER.pack(len(plan)) + plan)


def receive_plan(channel: socket.socket) -> Json:
    """Wait for the plan of a step."""
    (length,) = _HEADER.unpack(channel.recv(_HEADER.size, socket.MSG_WAITALL))
    plan: Json = json.loads(channel.recv(length, socket.MSG_WAITALL))
    return plan
