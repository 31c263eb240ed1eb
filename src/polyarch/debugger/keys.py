"""A terminal in raw mode: keys that are typed, and a line that is edited by them."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import tty
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self

__all__ = ["Keys", "Prompt"]

_ESCAPE = 0x01
"""Ctrl-a, before a key that is for us."""
_TOGGLE = ord("c")
_USUAL_SIZE = (24, 80)

Kind = Literal["typed", "toggle", "resized", "ended", "gone"]


class Keys:
    """The user's terminal, raw as long as the block lasts. `wake` is a pipe by which other threads and signals tell of things."""

    def __init__(self, keys: int, screen: int, wake: int) -> None:
        self._keys = keys
        self._screen = screen
        self._wake = wake
        self._waiting: deque[tuple[Kind, bytes]] = deque()
        self._is_escaped = False
        self._before = termios.tcgetattr(keys)

    def __enter__(self) -> Self:
        tty.setraw(self._keys)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def next(self) -> tuple[Kind, bytes]:
        """Return what happens next."""
        while not self._waiting:
            ready, _, _ = select.select([self._keys, self._wake], [], [])
            if self._wake in ready:
                self._told(os.read(self._wake, 4096))
            if self._keys in ready:
                self._typed()
        return self._waiting.popleft()

    def _told(self, data: bytes) -> None:
        if b"w" in data:
            self._waiting.append(("resized", b""))
        if data.strip(b"w"):
            self._waiting.append(("ended", b""))

    def _typed(self) -> None:
        try:
            data = os.read(self._keys, 4096)
        except OSError:
            data = b""
        if not data:
            self._waiting.append(("gone", b""))
            return
        plain = bytearray()
        for key in data:
            if self._is_escaped and key == _TOGGLE:
                if plain:
                    self._waiting.append(("typed", bytes(plain)))
                    plain.clear()
                self._waiting.append(("toggle", b""))
                self._is_escaped = False
            elif self._is_escaped:
                plain += bytes((_ESCAPE, key)) if key != _ESCAPE else bytes((_ESCAPE,))
                self._is_escaped = False
            elif key == _ESCAPE:
                self._is_escaped = True
            else:
                plain.append(key)
        if plain:
            self._waiting.append(("typed", bytes(plain)))

    def show(self, data: bytes) -> None:
        """Show lines of our own."""
        self.write(data.replace(b"\n", b"\r\n"))

    def write(self, data: bytes) -> None:
        """Show bytes as they are, as programs do that know of the raw terminal."""
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._screen, data) :]

    def size(self) -> tuple[int, int]:
        """Return the rows and columns of the screen."""
        try:
            columns, rows = os.get_terminal_size(self._screen)
        except OSError:
            return _USUAL_SIZE
        return rows, columns


class Prompt:
    """A line that is typed: letters, backspace, Ctrl-u and Ctrl-c; Ctrl-d at its beginning is the end."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self._line = ""
        self._is_sequence = False

    def begin(self) -> None:
        """Begin a new line."""
        self._line = ""
        self._show(b"(polyarch) ")

    def take(self, data: bytes) -> Iterator[str | None]:
        """Take keys; give lines that are done, and None for the end."""
        for letter in data.decode(errors="replace"):
            if letter == "\x04" and not self._line:
                yield None
            elif letter in "\r\n":
                self._show(b"\n")
                line, self._line = self._line, ""
                yield line
            else:
                self._edit(letter)

    def _edit(self, letter: str) -> None:
        if self._is_sequence:
            # Of an arrow key, say: ESC, a bracket, and what ends with a letter.
            self._is_sequence = not (letter.isalpha() or letter == "~")
        elif letter == "\x1b":
            self._is_sequence = True
        elif letter in "\x7f\x08" and self._line:
            self._line = self._line[:-1]
            self._show(b"\b \b")
        elif letter == "\x15":
            self._show(b"\b \b" * len(self._line))
            self._line = ""
        elif letter == "\x03":
            self._show(b"^C\n")
            self.begin()
        elif letter.isprintable():
            self._line += letter
            self._show(letter.encode())
