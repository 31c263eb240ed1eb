"""The process that starts steps: forked from the engine before that has threads, small, and alone.

It is forked before most modules are loaded, too: a step is forked from it by copying its page tables, and a
build that changes nothing needs none of what steps are started with.

    engine ──socket──▶ spawner ──clone──▶ a step, PID 1 of its namespaces
                               ──clone──▶ a keeper ──fork──▶ a step in a user namespace that is there already

The spawner receives three descriptors for a step: a socket over which the plan comes and the answer goes, and
the write ends of the step's output (for a holder the socket alone); there may be the read end of its input, the
process that it is to be beside, and a cgroup to start it in.
Each process is killed with its parent. The kernel ends all other processes of a step with its PID 1.
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
from polyarch.runtime.sandbox.plan import INTO_CGROUP, KEPT, PLAIN, PREPARE, STEP

__all__ = ["Spawner"]


class Spawner:
    """The engine's side: starts the spawner, and asks it for steps. Thread-safe.

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
            # An engine that was killed meanwhile has nobody to start steps for. Looked at only: `serve` reads the word.
            if os.getppid() == engine and requests.recv(1, socket.MSG_PEEK):
                # Loaded (10 ms) on this side only, and only if there are steps.
                from polyarch.runtime.sandbox.serving import serve  # noqa: PLC0415

                serve(requests)
        finally:
            os._exit(0)

    def close(self) -> None:
        """End the spawner and all that it has started."""
        self._socket.close()
        self.resources.close()

    def prepare(self) -> None:
        """Have the spawner load what it needs, while the caller goes on. Raises NoRuntime."""
        self._send(PREPARE + PLAIN, [])

    def ask(
        self, descriptors: Sequence[int], *, cgroup: int | None = None, kept: bool = False
    ) -> None:
        """Have a step started that gets copies of `descriptors`, in the cgroup whose directory is open.

        None is the engine's own. With `kept` a keeper is started, for a step in a user namespace or for a
        holder. Raises NoRuntime.
        """
        word = (KEPT if kept else STEP) + (PLAIN if cgroup is None else INTO_CGROUP)
        self._send(word, [*descriptors, *([] if cgroup is None else [cgroup])])

    def _send(self, word: bytes, descriptors: Sequence[int]) -> None:
        try:
            with self._lock:
                socket.send_fds(self._socket, [word], descriptors)
        except OSError as error:
            raise NoRuntime(f"the process that starts steps is gone: {error.strerror}") from error


def _keep_only(requests: socket.socket) -> socket.socket:
    """Close all that the engine has open but a socket, which is returned: directories, locks, users' files.

    A step inherits what there is, and would get at it by links of /proc. The streams become the
    null device's, as those of the engine may be anything, and `requests` may be one of them.
    """
    kept = fcntl.fcntl(requests.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    # Its descriptor is closed with all others, or is one of the streams; Python must not close it later.
    requests.detach()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    close_all_but(0, 1, 2, kept)
    return socket.socket(fileno=kept)
