"""Terminals in which the program runs, and who sits before them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import Self

from tests.support.machine.programs import Person

__all__ = ["Screen"]

_PATIENCE = 90.0


class Screen:
    """A terminal of 33 rows and 99 columns in which polyarch runs."""

    def __init__(self, who: Person, *words: str) -> None:
        self.shown = ""
        self._seen = 0
        self._master, terminal = pty.openpty()
        self.resize(33, 99)
        self._child = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *who.command(*words)],
            env=who.environment(),
            cwd=who.work,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def expect(self, text: str) -> None:
        """Wait until `text` is shown behind what was expected before."""
        deadline = time.monotonic() + _PATIENCE
        while (found := self.shown.find(text, self._seen)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, self.shown
            assert select.select([self._master], [], [], left)[0], self.shown
            self.shown += os.read(self._master, 4096).decode()
        self._seen = found + len(text)

    def end(self) -> int:
        return self._child.wait(_PATIENCE)
