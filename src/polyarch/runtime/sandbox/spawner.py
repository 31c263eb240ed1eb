"""The process that starts steps: forked from the engine before that has threads, small, and alone.

It is forked before most modules are loaded, too: what is forked from it, twice for a step, is copied page
table by page table, and most builds that change nothing need none of what a keeper loads.

    engine ──socket──▶ spawner ──fork──▶ keeper, one per step ──fork──▶ the step, PID 1 of its namespaces

The spawner receives, per step, three descriptors: a socket to the keeper, and the write ends of the
step's output (for a holder the socket alone), and perhaps a cgroup to start the keeper in. Each process is killed with its parent. The kernel ends all
other processes of a step with its PID 1.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import threading
from collections.abc import Sequence

from polyarch import syscalls
from polyarch.errors import NoRuntime
from polyarch.runtime.sandbox.descriptors import close_all_but
from polyarch.runtime.sandbox.plan import INTO_CGROUP, PLAIN, PREPARE

__all__ = ["Spawner"]


class Spawner:
    """The engine's side: starts the spawner, and asks it for keepers. Thread-safe.

    To be made before the engine starts a thread, and best before it loads much.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self.resources = contextlib.ExitStack()
        """What is to end after the last step."""
        engine = os.getpid()
        if os.fork():
            theirs.close()
            return
        try:
            requests = _keep_only(theirs)
            syscalls.set_parent_death_signal(signal.SIGKILL)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
                # What the terminal sends is for the engine to decide on.
                signal.signal(number, signal.SIG_IGN)
            if os.getppid() == engine and requests.recv(1, socket.MSG_PEEK):
                # Loaded (10 ms) on this side only, and only if there are steps.
                from polyarch.runtime.sandbox.keeper import serve  # noqa: PLC0415

                serve(requests)
        finally:
            os._exit(0)

    def close(self) -> None:
        """End the spawner and all that it has started."""
        self._socket.close()
        self.resources.close()

    def prepare(self) -> None:
        """Have the spawner load what it needs, while the caller goes on. Raises NoRuntime."""
        self._send(PREPARE, [])

    def ask(self, descriptors: Sequence[int], *, cgroup: int | None = None) -> None:
        """Have a keeper started that gets copies of `descriptors`, in the cgroup whose folder is open.

        None is the engine's own. Raises NoRuntime.
        """
        word = PLAIN if cgroup is None else INTO_CGROUP
        self._send(word, [*descriptors, *([] if cgroup is None else [cgroup])])

    def _send(self, word: bytes, descriptors: Sequence[int]) -> None:
        try:
            with self._lock:
                socket.send_fds(self._socket, [word], descriptors)
        except OSError as error:
            raise NoRuntime(f"the process that starts steps is gone: {error.strerror}") from error


def _keep_only(requests: socket.socket) -> socket.socket:
    """Close all that the engine has open but a socket, which is returned: folders, locks, users' files.

    A step inherits what its keeper has, and would get at it by links of /proc. The streams become the
    null device's, as those of the engine may be anything, and `requests` may be one of them.
    """
    kept = fcntl.fcntl(requests.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    requests.detach()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    close_all_but(0, 1, 2, kept)
    return socket.socket(fileno=kept)
