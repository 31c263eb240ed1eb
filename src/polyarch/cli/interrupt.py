"""Ctrl-C as a wish that work can end tidily."""

from __future__ import annotations

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


@contextmanager
def cancel_on_signals() -> Iterator[CancelToken]:
    """Give a token that SIGINT, SIGTERM and SIGHUP cancel; a later one does what it always did."""
    token = CancelToken()
    before = {int(number): signal.getsignal(number) for number in _SIGNALS}
    threads: list[threading.Thread] = []

    wished: list[float] = []

    def cancel(number: int, frame: FrameType | None) -> None:
        del frame
        wished.append(time.monotonic())
        if len(wished) > 1:
            if wished[-1] - wished[0] > _SAME:
                signal.signal(number, before[number])
                signal.raise_signal(number)
            return
        # In a thread of its own: the one that was interrupted may hold the token's lock.
        thread = threading.Thread(target=token.cancel, name="cancel")
        threads.append(thread)
        thread.start()

    for each in _SIGNALS:
        signal.signal(each, cancel)
    try:
        yield token
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for thread in threads:
            thread.join()
