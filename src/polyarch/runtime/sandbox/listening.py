"""System calls of a step that another process answers: the step's filter hands them to a listener.

    a thread of the step ──call──▶ kernel ──asks──▶ the process that listens, outside of the step
                         ◀─result─        ◀─answer─

Who listens has everything by numbers that may mean something else a moment later: a thread's number, an address
in its memory, a path. So what a call is about is opened first, and then the kernel is asked whether the
call still waits (`Call.check`): if so, all that was opened was the caller's.

Source: seccomp_unotify(2), linux/seccomp.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from typing import NoReturn

from polyarch import syscalls

__all__ = ["AS_ASKED", "GIVEN", "Call", "Handler", "keep_listening"]

_RECEIVE, _SEND, _IS_VALID, _ADD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_REQUEST = struct.Struct("=QII" + "iIQ6Q")
"""struct seccomp_notif: id, pid, flags; then the call's number, architecture, place and arguments."""
_ANSWER = struct.Struct("=QqiI")
_ADDITION = struct.Struct("=QIIII")
"""struct seccomp_notif_addfd: id, flags, our descriptor, theirs, flags of theirs."""
_ADD_AND_SEND = 2
_CONTINUE = 1
_PATH_LIMIT = 4096
_PAGE = 4096

AS_ASKED = -1
"""What a handler returns to have the kernel do what was called for, as if nobody had asked."""
GIVEN = -2
"""What it returns if the call was answered by `Call.give`."""


class Call:
    """A system call that waits for its answer. Not a record: there are thousands in a second."""

    __slots__ = ("_identity", "_listener", "_processes", "arguments", "machine", "name", "thread")

    def __init__(
        self, listener: int, processes: int, known: Mapping[tuple[int, int], tuple[str, str]]
    ) -> None:
        """Take one from the listener; `processes` is /proc, opened. Raises OSError if its caller is gone."""
        request = bytearray(_REQUEST.size)
        fcntl.ioctl(listener, _RECEIVE, request)
        self._listener = listener
        self._processes = processes
        self._identity, self.thread, _, number, architecture, _, *arguments = _REQUEST.unpack(
            request
        )
        self.name, self.machine = known.get((architecture, number), ("", ""))
        self.arguments: list[int] = arguments

    def number(self, index: int) -> int:
        """Return an argument that is an int of C."""
        value = self.arguments[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def is_valid(self) -> bool:
        """Tell whether the call still waits, so that what was found by its thread's number is its caller's."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._listener, _IS_VALID, struct.pack("=Q", self._identity))
            return True
        return False

    def check(self) -> None:
        """Raise OSError unless the call still waits."""
        if not self.is_valid():
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def answer(self, result: int) -> None:
        """Let the caller go on, with a result, or (below 0) an error."""
        if result == AS_ASKED:
            answer = _ANSWER.pack(self._identity, 0, 0, _CONTINUE)
        else:
            answer = _ANSWER.pack(self._identity, result, 0, 0)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._listener, _SEND, bytearray(answer))

    def refuse(self, number: int) -> None:
        """Let the caller go on, with an error."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(
                self._listener, _SEND, bytearray(_ANSWER.pack(self._identity, 0, -number, 0))
            )

    def give(self, descriptor: int, *, flags: int) -> int:
        """Give the caller a copy of a descriptor as the result (flags: O_CLOEXEC or 0). Raises OSError."""
        addition = _ADDITION.pack(self._identity, _ADD_AND_SEND, descriptor, 0, flags)
        fcntl.ioctl(self._listener, _ADD, bytearray(addition))
        return GIVEN

    def open(self, name: str, flags: int = os.O_PATH) -> int:
        """Open what is called so in the directory of the caller in /proc. Raises OSError."""
        return os.open(f"{self.thread}/{name}", flags | os.O_CLOEXEC, dir_fd=self._processes)

    def status(self, name: str) -> os.stat_result:
        """Look at what is called so in the directory of the caller in /proc. Raises OSError."""
        return os.stat(f"{self.thread}/{name}", dir_fd=self._processes)

    def state(self) -> dict[str, list[str]]:
        """Return the fields of the caller's status in /proc. Raises OSError."""
        with open(self.open("status", os.O_RDONLY), encoding="utf-8", errors="replace") as file:
            lines = (line.partition(":") for line in file)
            return {name: text.split() for name, _, text in lines}

    def read(self, address: int, size: int) -> bytes:
        """Read the caller's memory, up to `size` bytes and at least one. Raises OSError as the kernel does."""
        memory = self.open("mem", os.O_RDONLY)
        try:
            data = os.pread(memory, size, address)
        except (OSError, OverflowError):
            data = b""
        finally:
            os.close(memory)
        self.check()
        if not data:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        return data

    def write(self, address: int, data: bytes | bytearray) -> None:
        """Write to the caller's memory. Raises OSError as the kernel does."""
        memory = self.open("mem", os.O_WRONLY)
        try:
            self.check()
            written = os.pwrite(memory, data, address)
        except OverflowError:
            written = 0
        finally:
            os.close(memory)
        if written != len(data):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    def text(self, address: int) -> bytes:
        """Read a C string, a path, from the caller's memory. Raises OSError as the kernel does."""
        text = b""
        while b"\0" not in text and len(text) < _PATH_LIMIT:
            # To the end of the page: the next one may not be there.
            place = address + len(text)
            text += self.read(place, min(_PAGE - place % _PAGE, _PATH_LIMIT - len(text)))
        if b"\0" not in text:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return text.partition(b"\0")[0]


Handler = Callable[[Call], int]
"""Answers a call: with its result, `AS_ASKED` or `GIVEN`. Raises OSError for an error."""


def keep_listening(
    line: socket.socket, calls: list[list[int | str]], handlers: Mapping[str, Handler]
) -> NoReturn:
    """Receive the listener from the step, and answer its calls until the step has ended.

    `calls` holds the architecture, the number, the name and the machine of what is handed over, `handlers` who
    answers each name.
    """
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        processes = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        known = {(int(row[0]), int(row[1])): (str(row[2]), str(row[3])) for row in calls}
        _, listeners, _, _ = socket.recv_fds(line, 1, 1, socket.MSG_CMSG_CLOEXEC)
        poll = select.poll()
        for listener in listeners:
            poll.register(listener, select.POLLIN)
            while not poll.poll()[0][1] & select.POLLHUP:
                with contextlib.suppress(OSError):  # the caller was killed meanwhile
                    _answer(Call(listener, processes, known), handlers)
    finally:
        os._exit(0)


def _answer(call: Call, handlers: Mapping[str, Handler]) -> None:
    handler = handlers.get(call.name)
    if handler is None:
        call.refuse(errno.EPERM)
        return
    try:
        result = handler(call)
    except OSError as error:
        call.refuse(error.errno or errno.EPERM)
        return
    if result != GIVEN:
        call.answer(result)
