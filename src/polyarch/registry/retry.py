"""Trying a whole operation again after an error that may pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from polyarch.errors import RemoteError
from polyarch.progress import CancelToken

__all__ = ["Pause", "pause_unless_cancelled", "retried"]

_T = TypeVar("_T")
_PAUSES = (1.0, 2.0, 4.0)

Pause = Callable[[float, CancelToken], None]
"""Waits for some seconds, or until cancelled."""


def pause_unless_cancelled(seconds: float, cancel: CancelToken) -> None:
    """Wait. Raises Cancelled as soon as the work should end."""
    cancelled = threading.Event()
    forget = cancel.on_cancel(cancelled.set)
    try:
        cancelled.wait(seconds)
    finally:
        forget()
    cancel.check()


def retried(
    operation: Callable[[], _T], cancel: CancelToken, pause: Pause = pause_unless_cancelled
) -> _T:
    """Do `operation`, up to four times as long as its errors are temporary ones."""
    for seconds in _PAUSES:
        cancel.check()
        try:
            return operation()
        except RemoteError as error:
            if not error.temporary:
                raise
        pause(seconds, cancel)
    return operation()
