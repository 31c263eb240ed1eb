"""Ctrl-C as a wish that work can end tidily."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from polyarch.progress import CancelToken

__all__ = ["cancel_on_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAME = 0.5
"""Seconds within which signals are one wish: what is sent to a whole process group comes here twice."""
_END = b"\0"


@contextmanager
def cancel_on_signals() -> Iterator[CancelToken]:
    """Give a token that SIGINT, SIGTERM and SIGHUP cancel; a later one does what it always did.

    A thread cancels: handlers of Python run in the main thread only, when it gets to it, and a signal that
    comes just before that begins to wait for a lock is not seen until the wait is over. So this comes
    behind whatever forks.
    """
    token = CancelToken()
    before = {int(number): signal.getsignal(number) for number in _SIGNALS}
    wishes: list[float] = []

    def note(number: int, _frame: FrameType | None) -> None:
        wishes.append(time.monotonic())
        if wishes[-1] - wishes[0] > _SAME:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    watcher = threading.Thread(target=_watch, args=(reader, token), name="signals")
    watcher.start()
    outer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for each in _SIGNALS:
        signal.signal(each, note)
    try:
        yield token
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(outer)
        os.write(writer, _END)
        watcher.join()
        os.close(writer)
        os.close(reader)


def _watch(reader: int, token: CancelToken) -> None:
    """Cancel at the first signal; the interpreter writes the number of each as it comes."""
    while True:
        numbers = os.read(reader, 64)
        if not token.cancelled and any(number in numbers for number in _SIGNALS):
            token.cancel()
        if _END in numbers:
            return
