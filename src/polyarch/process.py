"""The one way to start a child: environment built from nothing, own process group, nothing left.

`run` starts a program and collects what it prints; `Child` hands its output over as it comes. A child
leads a process group of its own, so that cancelling (or a timeout) ends it with all that it started.
It dies with the thread that started it, even if that is killed: that thread must therefore stay with
the child, as `run` and `Child.wait` do.

How a program failed to start is told by its status, as shells do: 127 if it wasn't found, 126 if it
can't be executed. A program killed by signal N has status 128 + N, and `signal` set.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING

from polyarch.errors import MachineError
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.syscalls import set_parent_death_signal

if TYPE_CHECKING:
    import subprocess

__all__ = ["Child", "Completed", "OnOutput", "base_environment", "run"]

OnOutput = Callable[[int, bytes], None]
"""Takes a stream (1 or 2) and the bytes that came from it."""

_CHUNK = 65536
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR")


@frozen
class Completed:
    """How a child ended, and what it printed (empty if that was handed over as it came)."""

    argv: tuple[str, ...]
    status: int
    signal: int = 0
    stdout: bytes = b""
    stderr: bytes = b""

    def __str__(self) -> str:
        """Say in one line how it ended, with the last line of its errors."""
        program = self.argv[0]
        if self.signal:
            return f"{program} was killed by {_signal_name(self.signal)}"
        if self.status == 127 and not self.stdout:
            return f"{program} was not found"
        if self.status == 126 and not self.stdout:
            return f"{program} can't be executed"
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return f"{program} ended with status {self.status}" + (f": {lines[-1]}" if lines else "")

    def check(self) -> Completed:
        """Return self if the status is 0; else raise a MachineError that says how it ended."""
        if self.status != 0:
            raise MachineError(str(self))
        return self


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def base_environment(**extra: str) -> dict[str, str]:
    """Return what every child gets: where programs and the home are, and plain English messages."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": os.defpath, **inherited, "LC_ALL": "C.UTF-8", **extra}


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    cwd: str | None = None,
    timeout: float | None = None,
    cancel: CancelToken | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run `argv` to its end and return its status and output.

    `env` is the whole environment (None: `base_environment()`); `timeout` is in seconds.
    Raises MachineError if it takes longer, Cancelled if `cancel` was set meanwhile; never because of
    how the program ended.
    """
    printed: dict[int, list[bytes]] = {1: [], 2: []}
    child = Child(
        argv,
        env=env,
        stdin=stdin,
        cwd=cwd,
        on_output=lambda stream, data: printed[stream].append(data),
        cancel=cancel,
        pass_fds=pass_fds,
    )
    ended = child.wait(timeout=timeout)
    return Completed(
        argv=ended.argv,
        status=ended.status,
        signal=ended.signal,
        stdout=b"".join(printed[1]),
        stderr=b"".join(printed[2]),
    )


def _die_with_parent() -> None:
    set_parent_death_signal(signal.SIGKILL)


class Child:
    """A running program; whoever starts it calls `wait`, in the same thread, once.

    `on_output` is called from `wait` only. `stdin` is closed after its bytes were written (an int is
    a descriptor to hand over instead). `stdout` is a descriptor to use instead of a pipe.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | int = b"",
        stdout: int | None = None,
        cwd: str | None = None,
        on_output: OnOutput | None = None,
        cancel: CancelToken | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.argv = tuple(argv)
        self._on_output = on_output or (lambda _stream, _data: None)
        self._cancel = cancel or CancelToken()
        self._cancel.check()
        if cwd is not None and not os.path.isdir(cwd):
            raise MachineError(f"{self.argv[0]} can't be started in {cwd}: no such directory")
        self._lock = threading.Lock()
        self._input = memoryview(stdin if isinstance(stdin, bytes) else b"")
        self._refused = 0
        self._child: subprocess.Popen[bytes] | None = None
        # Most builds start no program but in steps: 2 ms.
        import subprocess  # noqa: PLC0415

        from_bytes = subprocess.PIPE if stdin else subprocess.DEVNULL
        try:
            self._child = subprocess.Popen(
                self.argv,
                env=base_environment() if env is None else dict(env),
                stdin=stdin if isinstance(stdin, int) else from_bytes,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                pass_fds=tuple(pass_fds),
                process_group=0,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 it makes one call and takes no lock
            )
        except FileNotFoundError:
            self._refused = 127
        except OSError:
            self._refused = 126

    @property
    def pid(self) -> int:
        """The process id; 0 if the program couldn't be started."""
        return self._child.pid if self._child is not None else 0

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the child and all of its process group; nothing if it has ended."""
        with self._lock:
            if self._child is not None and self._child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._child.pid, number)

    def wait(self, *, timeout: float | None = None) -> Completed:
        """Hand the output over until the child has ended and closed it; return how it ended.

        Raises MachineError after `timeout` seconds and Cancelled on cancellation, with the process
        group killed and the child reaped in either case.
        """
        if self._child is None:
            return Completed(argv=self.argv, status=self._refused)
        deadline = None if timeout is None else time.monotonic() + timeout
        forget = self._cancel.on_cancel(self.kill)
        try:
            self._exchange(self._child, deadline)
            in_time = self._ends_before(self._child, deadline)
        finally:
            forget()
            self._reap(self._child)
        self._cancel.check()
        if not in_time:
            raise MachineError(f"{self.argv[0]} did not end within {timeout:g} s")
        code = self._child.returncode
        if code < 0:
            return Completed(argv=self.argv, status=128 - code, signal=-code)
        return Completed(argv=self.argv, status=code)

    def _exchange(self, child: subprocess.Popen[bytes], deadline: float | None) -> None:
        """Write the input and read both outputs until they are closed or time is over."""
        pipes = _pipes(child)
        with selectors.DefaultSelector() as selector:
            for number, pipe in pipes.items():
                os.set_blocking(pipe.fileno(), False)
                wanted = selectors.EVENT_READ if number else selectors.EVENT_WRITE
                selector.register(pipe, wanted, number)
            while selector.get_map():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return
                for key, _ in selector.select(left):
                    done = self._write(key.fd) if key.data == 0 else self._read(key.fd, key.data)
                    if done:
                        selector.unregister(key.fileobj)
                        pipes[key.data].close()

    def _write(self, fd: int) -> bool:
        """Write some of the input; tell whether there is no more of it to write."""
        try:
            self._input = self._input[os.write(fd, self._input[:_CHUNK]) :]
        except BrokenPipeError:
            return True
        return not self._input

    def _read(self, fd: int, stream: int) -> bool:
        """Hand over what is there to read; tell whether that was the end."""
        data = os.read(fd, _CHUNK)
        if data:
            self._on_output(stream, data)
        return not data

    @staticmethod
    def _ends_before(child: subprocess.Popen[bytes], deadline: float | None) -> bool:
        """Wait for the end without reaping, so that no other process can take the id meanwhile."""
        if deadline is None:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            return True
        fd = os.pidfd_open(child.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(fd, selectors.EVENT_READ)
                return bool(selector.select(max(0.0, deadline - time.monotonic())))
        finally:
            os.close(fd)

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        """Kill what is left of the child if it has not ended, take its status, close its pipes."""
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            self.kill()
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            child.wait()
        for pipe in _pipes(child).values():
            pipe.close()


def _pipes(child: subprocess.Popen[bytes]) -> dict[int, IO[bytes]]:
    """Return our ends of the child's pipes, by descriptor number in the child."""
    pipes = {0: child.stdin, 1: child.stdout, 2: child.stderr}
    return {number: pipe for number, pipe in pipes.items() if pipe is not None}
