"""The process that starts steps: forked from the engine before that has threads, small, and alone.

    engine ──socket──▶ spawner ──fork──▶ keeper, one per step ──fork──▶ the step, PID 1 of its namespaces

The spawner receives, per step, three descriptors: a socket to the keeper, and the write ends of the
step's output (for a holder the socket alone). Each process is killed with its parent. The kernel ends all
other processes of a step with its PID 1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Sequence

from polyarch import syscalls
from polyarch.errors import NoRuntime

__all__ = ["ANSWER_LIMIT", "PLAN_HEADER", "Spawner", "send_plan"]

PLAN_HEADER = struct.Struct("=Q")
"""The length, in bytes, of the plan that follows."""
ANSWER_LIMIT = 65536


class Spawner:
    """The engine's side: starts the spawner, and asks it for keepers. Thread-safe.

    To be made before the engine starts a thread.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        engine = os.getpid()
        if os.fork():
            theirs.close()
            return
        try:
            self._socket.close()
            syscalls.set_parent_death_signal(signal.SIGKILL)
            if os.getppid() == engine:
                # Imported on this side only, while the engine goes on with something else.
                from polyarch.runtime.keeper import serve  # noqa: PLC0415

                serve(theirs)
        finally:
            os._exit(0)

    def close(self) -> None:
        """End the spawner and all that it has started."""
        self._socket.close()

    def ask(self, descriptors: Sequence[int]) -> None:
        """Have a keeper started that gets copies of `descriptors`. Raises NoRuntime."""
        try:
            with self._lock:
                socket.send_fds(self._socket, [b"+"], descriptors)
        except OSError as error:
            raise NoRuntime(f"the process that starts steps is gone: {error.strerror}") from error


def send_plan(control: socket.socket, plan: bytes) -> None:
    """Send a keeper its plan; if it can't be sent, the missing answer will tell."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.sendall(PLAN_HEADER.pack(len(plan)) + plan)
