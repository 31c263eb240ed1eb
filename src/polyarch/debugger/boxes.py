"""The programs of a monitor: a container, which begins anew now and then, and what runs in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
import threading
from collections.abc import Callable, Sequence

from polyarch.debugger.hands import Hands, Shell
from polyarch.debugger.node import Program
from polyarch.debugger.tour import Stop
from polyarch.errors import Cancelled, InputError, InternalError, PolyarchError
from polyarch.progress import CancelToken
from polyarch.record import frozen, replace
from polyarch.request.talk import Talk
from polyarch.threads import caught

__all__ = ["Boxes", "Invoke"]

_SHELL = ("sh",)
Show = Callable[[bytes], None]


@frozen
class Invoke:
    """What is run in a container, and when; "" and () where the step itself decides.

    With `always` the monitor opens for what was built, too. `user` and `cwd` are None for those of the step.
    """

    argv: tuple[str, ...] = _SHELL
    env: tuple[str, ...] = ()
    user: str | None = None
    cwd: str | None = None
    tty: bool = True
    always: bool = False

    def running(self, argv: Sequence[str]) -> Invoke:
        """Return the same with another program."""
        return replace(self, argv=tuple(argv), tty=True)

    def program(self, own: Program) -> Program:
        """Return the program in the surroundings of a step's own."""
        return Program(
            argv=self.argv or _SHELL,
            env=(*own.env, *self.env),
            cwd=own.cwd if self.cwd is None else self.cwd,
            user=own.user if self.user is None else self.user,
        )


class _Process:
    """A program that runs, or is about to."""

    def __init__(self, invoke: Invoke, size: tuple[int, int]) -> None:
        self.id = os.urandom(6).hex()
        self.invoke = invoke
        self.show: Show | None = None
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._writer, False)
        self._masters: list[int] = []
        self._lock = threading.Lock()
        self.talk = Talk(
            stdin=self._reader,
            terminal=size if invoke.tty else None,
            on_terminal=self._masters.append,
        )

    def write(self, _stream: int, data: bytes) -> None:
        show = self.show
        if show is not None:
            show(data)

    def type(self, data: bytes) -> None:
        # What a program doesn't read for long is lost, rather than all keys.
        with self._lock, contextlib.suppress(OSError):
            os.write(self._writer, data)

    def resize(self, size: tuple[int, int]) -> None:
        for master in self._masters:
            with contextlib.suppress(OSError):
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))

    def close(self) -> None:
        with self._lock:
            os.close(self._reader)
            os.close(self._writer)
            self._writer = -1


class _Box:
    """One container."""

    def __init__(self) -> None:
        self.cancel = CancelToken()
        self.opened = threading.Event()
        self.shell: Shell | None = None
        self.is_over = False
        self.threads: list[threading.Thread] = []


class Boxes:
    """The container of a stop, and its programs. All but `ended` is called by one thread."""

    def __init__(
        self, hands: Hands, stop: Stop, *, is_failed: bool, ended: Callable[[], None]
    ) -> None:
        """Have none yet; `ended` is called, by any thread, when a program has."""
        self.is_failed = is_failed
        self.attached: _Process | None = None
        self._hands = hands
        self._stop = stop
        self._ended = ended
        self._box: _Box | None = None
        self._processes: dict[str, _Process] = {}
        self._complaints: list[str] = []
        self._lock = threading.Lock()

    def start(
        self, invoke: Invoke, size: tuple[int, int], show: Show, *, fresh: bool, initial: bool
    ) -> str:
        """Run a program, and attach to it; returns its name. With `fresh` all begins anew, with `initial` before the step."""
        box = self._box
        is_first = fresh or box is None or box.is_over
        if is_first:
            self.close()
            box = self._box = _Box()
        assert box is not None
        process = _Process(invoke, size)
        with self._lock:
            self._processes[process.id] = process
        self.mute()
        self.attached = process
        process.show = show
        work = self._first if is_first else self._beside
        thread = threading.Thread(
            target=self._run, args=(box, process, work, initial), name="program", daemon=True
        )
        box.threads.append(thread)
        thread.start()
        return process.id

    def _run(
        self,
        box: _Box,
        process: _Process,
        work: Callable[[_Box, _Process, bool], None],
        initial: bool,
    ) -> None:
        error = caught(lambda: work(box, process, initial))
        with self._lock:
            self._processes.pop(process.id, None)
            if self.attached is process:
                self.attached = None
            if error is not None and not isinstance(error, PolyarchError):
                error = InternalError(f"{type(error).__name__}: {error}")
            if error is not None and not isinstance(error, Cancelled):
                self._complaints.append(str(error))
        process.close()
        self._ended()

    def _first(self, box: _Box, process: _Process, initial: bool) -> None:
        is_failed = self.is_failed and not initial
        try:
            with self._hands.shell(self._stop, box.cancel, is_failed=is_failed) as shell:
                box.shell = shell
                box.opened.set()
                _go(shell, process, box.cancel, is_first=True)
                box.is_over = True
                for each in box.threads[1:]:
                    each.join()
        finally:
            box.is_over = True
            box.opened.set()

    def _beside(self, box: _Box, process: _Process, _initial: bool) -> None:
        box.opened.wait()
        if box.shell is None or box.is_over:
            raise InputError("the container isn't there any more")
        _go(box.shell, process, box.cancel, is_first=False)

    def attach(self, number: str) -> None:
        """Attach to a program that runs. Raises InputError."""
        with self._lock:
            process = self._processes.get(number)
        if process is None:
            raise InputError(f"pid {number}: not found")
        self.mute()
        self.attached = process

    def show(self, show: Show) -> None:
        """Show from now on what the attached program prints."""
        process = self.attached
        if process is not None:
            process.show = show

    def mute(self) -> None:
        """Show nothing of what programs print."""
        with self._lock:
            for each in self._processes.values():
                each.show = None

    def type(self, data: bytes) -> None:
        """Type something for the attached program."""
        process = self.attached
        if process is not None:
            process.type(data)

    def resize(self, size: tuple[int, int]) -> None:
        """Pass on the size (rows and columns) of the window."""
        with self._lock:
            for each in self._processes.values():
                each.resize(size)

    def listed(self) -> list[tuple[str, bool, tuple[str, ...]]]:
        """Return the programs that run: names, whether each is attached, and what they are."""
        with self._lock:
            return [
                (each.id, each is self.attached, each.invoke.argv)
                for each in self._processes.values()
            ]

    def complaints(self) -> list[str]:
        """Return why programs couldn't be run, once."""
        with self._lock:
            found, self._complaints = self._complaints, []
            return found

    def close(self) -> None:
        """End all programs, and the container."""
        box, self._box = self._box, None
        if box is not None:
            box.cancel.cancel()
            for each in box.threads:
                each.join()


def _go(shell: Shell, process: _Process, cancel: CancelToken, *, is_first: bool) -> None:
    program = process.invoke.program(shell.program)
    shell.run(program, process.talk, process.write, cancel, is_first=is_first)
