"""How often another machine is asked the same thing: the only place that tries again.

One operation (a manifest, a blob, an upload) makes up to five requests, whatever goes wrong between them.
Whatever lies below sends once and says by `temporary` whether another time may help, and by `wait` for how
long it was asked to stay away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from polyarch.errors import RemoteError
from polyarch.progress import CancelToken

__all__ = ["ATTEMPTS", "PASSING", "Attempts", "Pause", "pause_unless_cancelled", "told_wait"]

_T = TypeVar("_T")

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others a second later."""

ATTEMPTS = 5
_FIRST_WAIT = 0.5
_MOMENT = 0.05
_LONGEST_WAIT = 30.0

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


class Attempts:
    """The requests that one operation may still make."""

    def __init__(
        self, cancel: CancelToken, pause: Pause = pause_unless_cancelled, *, limit: int = ATTEMPTS
    ) -> None:
        self._cancel = cancel
        self._pause = pause
        self._limit = limit
        self._used = 0

    @property
    def left(self) -> int:
        """How many requests may still be made."""
        return self._limit - self._used

    def renew(self) -> None:
        """Allow for all attempts again, since the last one got on."""
        self._used = 0

    def allow(self, more: int) -> None:
        """Allow for some more."""
        self._limit += more

    def run(self, operation: Callable[[], _T]) -> _T:
        """Do `operation` as often as its errors are temporary. Raises its last error, Cancelled."""
        while True:
            self.begin()
            try:
                return operation()
            except RemoteError as error:
                self.wait(error)

    def begin(self) -> None:
        """Count one. Raises Cancelled."""
        self._cancel.check()
        self._used += 1

    def wait(self, error: RemoteError) -> None:
        """Wait until it is time to try again. Raises `error` if that won't help, Cancelled."""
        if not error.temporary or self.left <= 0:
            raise error
        # A connection that was kept may have been hung up on just now: that's no sign of trouble.
        is_first_break = self._used == 1 and not getattr(error, "status", 0)
        usual = _MOMENT if is_first_break else _FIRST_WAIT * 2 ** (self._used - 1)
        self._pause(error.wait or usual, self._cancel)


def told_wait(retry_after: str) -> float:
    """Return the seconds of a `Retry-After` field, a moment to half a minute; 0.0 if it doesn't tell."""
    if not retry_after.isdecimal():
        return 0.0
    return max(_MOMENT, min(float(retry_after), _LONGEST_WAIT))
