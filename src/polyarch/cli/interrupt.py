"""Ctrl-C as a wish that work can end tidily."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from polyarch.progress import CancelToken

__all__ = ["cancel_on_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def cancel_on_signals() -> Iterator[CancelToken]:
    """Give a token that SIGINT, SIGTERM and SIGHUP cancel; a second signal does what it always did."""
    token = CancelToken()
    before = {int(number): signal.getsignal(number) for number in _SIGNALS}
    threads: list[threading.Thread] = []

    def cancel(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, before[number])
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
