"""The kernel tells which files are opened: inotify(7), as far as it takes to count.

Two events that are the same and follow upon one another are one, so closing is listened to as well: what is opened
again after it was closed counts twice. Starting a program opens its file, and closes it once it is mapped.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from polyarch.errors import MachineError

__all__ = ["Openings", "Renewals"]

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_OPENED, _CLOSED, _OVERFLOWN = 0x20, 0x10, 0x4000
_WRITTEN, _MOVED_HERE, _CREATED, _ONLY_DIRECTORIES = 0x8, 0x80, 0x100, 0x1000000
_EVENT = struct.Struct("=iIII")
"""The watch, what happened, a number that pairs renames, the length of the name behind it."""
_CHUNK = 1 << 16


class Openings:
    """Counts, by groups of files, how often they are opened while it is open itself.

    `read` has to be called now and then: the kernel keeps some 16,000 events. Raises MachineError if there are
    too many who listen.
    """

    def __init__(self, *groups: Iterable[Path]) -> None:
        self.counts = [0] * len(groups)
        self.is_complete = True
        """Whether nothing was missed so far."""
        self.was_open = False
        self._groups = groups
        self._group_of: dict[int, int] = {}
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Begin to listen."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        try:
            _check(self._descriptor)
            for number, group in enumerate(self._groups):
                for path in group:
                    mask = _OPENED | _CLOSED
                    watch = libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask)
                    _check(watch)
                    self._group_of[watch] = number
        except MachineError:
            self.__exit__(None, None, None)
            raise
        self.was_open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Count what has come, and listen no more."""
        if self._descriptor >= 0:
            self.read()
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self) -> None:
        """Count what has come since the last time; doesn't wait."""
        while True:
            try:
                data = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                watch, what, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size + length
                if what & _OVERFLOWN:
                    self.is_complete = False
                elif what & _OPENED:
                    self.counts[self._group_of[watch]] += 1


def _check(result: int) -> None:
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        raise MachineError(f"the kernel doesn't tell which files are opened: {reason}")


class Renewals:
    """Tells of directories that something in them was written to its end, put there or made.

    Raises MachineError if there are too many who listen.
    """

    def __init__(self) -> None:
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        _check(self._descriptor)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        os.close(self._descriptor)

    def watch(self, directory: Path) -> None:
        """Listen to a directory as well, if it is there; twice is once."""
        mask = _WRITTEN | _MOVED_HERE | _CREATED | _ONLY_DIRECTORIES
        self._libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask)

    def until(self, stop: int) -> Iterator[set[str]]:
        """Give the names that are new, some at a time, until `stop` can be read; "" is among them for what was only made."""
        while stop not in select.select([self._descriptor, stop], [], [])[0]:
            data = b""
            with suppress(BlockingIOError):
                data = os.read(self._descriptor, _CHUNK)
            found, offset = set(), 0
            while offset < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size + length
                name = data[offset - length : offset].rstrip(b"\0")
                found.add(os.fsdecode(name) if mask & (_WRITTEN | _MOVED_HERE) else "")
            yield found
