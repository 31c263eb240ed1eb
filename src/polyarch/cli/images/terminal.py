"""The user's terminal, lent to a program that runs in one of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from polyarch.cli.frame.command import Context
from polyarch.errors import InputError
from polyarch.request.talk import SILENCE, Talk

__all__ = ["open_talk"]

_USUAL_SIZE = (24, 80)


@contextmanager
def open_talk(context: Context, *, interactive: bool, terminal: bool) -> Iterator[Talk]:
    """Give what a program is talked to with, as `docker run -i` and `-t` have it.

    Raises InputError if a terminal is to be talked to by what is none.
    """
    stdin = context.stdin.fileno() if interactive else None
    if not terminal:
        yield Talk(stdin=stdin) if interactive else SILENCE
        return
    if stdin is not None and not os.isatty(stdin):
        raise InputError("the input device is not a TTY", hint="leave -t out")
    screen = context.stdout.fileno()
    rows, columns = os.get_terminal_size(screen)[::-1] if os.isatty(screen) else _USUAL_SIZE
    with _raw(stdin), _resized(screen) as masters:
        yield Talk(stdin=stdin, terminal=(rows, columns), on_terminal=masters.append)


@contextmanager
def _raw(descriptor: int | None) -> Iterator[None]:
    """Let every key through, those that would end us among them."""
    if descriptor is None:
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _resized(screen: int) -> Iterator[list[int]]:
    """Give a list of terminals that get the size of the screen whenever that changes."""
    terminals: list[int] = []

    def resize(number: int, frame: FrameType | None) -> None:
        del number, frame
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(screen, termios.TIOCGWINSZ, bytes(8))
            for terminal in terminals:
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        yield terminals
    finally:
        signal.signal(signal.SIGWINCH, before)
