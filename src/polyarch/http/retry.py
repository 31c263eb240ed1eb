"""How often another machine is asked the same thing: the only place that tries again.

One operation (a manifest, a blob, an upload, a file) has five attempts, whatever goes wrong between them. So
a server that fails gets to fail five times: an upload, which is two requests, may have begun five times if
its second one never worked. Redirects and questions for a token are part of an attempt. An attempt at a blob
that got on (`renew`) starts a new count, since the next one starts behind it: however bad the line, a blob
comes as long as it comes in pieces worth having, and ends after five that weren't.

Whatever lies below sends once and says by `temporary` whether another time may help, and by `wait` for how
long it was asked to stay away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from polyarch.errors import PolyarchError, RemoteError
from polyarch.progress import CancelToken

__all__ = ["Attempts", "Pause", "passes", "pause_unless_cancelled", "told_wait"]

_T = TypeVar("_T")

_PASSING = frozenset(
    {
        408,  # it waited too long for the request, say on a connection that was kept
        425,  # it takes nothing that may be a repetition, yet
        429,  # asked too often
        500,  # some bug, often of what is behind it
        502,  # what is in front of it got no answer,
        503,  # is starting or overloaded,
        504,  # or lost patience
    }
)
"""Statuses that may be others a second later. Not 501 and 505: they tell what a server can't do at all."""

_ATTEMPTS = 5
_FIRST_WAIT = 0.5
"""Seconds after the first failure, and twice as many after each: 7.5 in all."""
_MOMENT = 0.05
_LONGEST_WAIT = 30.0
"""Seconds; who asks for more is asked again earlier. Four such waits are as long as a silent server is
listened to. Limits per minute are over by then; those of Docker Hub are over in hours, which nobody waits for
before a build that stands still: an error that says so is of more use."""

Pause = Callable[[float, CancelToken], None]
"""Waits for some seconds, or until cancelled."""


class HasStatus(Protocol):
    """An answer."""

    @property
    def status(self) -> int:
        """Its status."""


_Answer = TypeVar("_Answer", bound=HasStatus)


def passes(status: int) -> bool:
    """Tell whether the same request may get another status a second later."""
    return status in _PASSING


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
    """The attempts that one operation may still make; `limit` is for how many it may make at first."""

    def __init__(
        self, cancel: CancelToken, pause: Pause = pause_unless_cancelled, *, limit: int = _ATTEMPTS
    ) -> None:
        self._cancel = cancel
        self._pause = pause
        self._limit = limit
        self._used = 0

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

    def answer(
        self, send: Callable[[], _Answer], refusal: Callable[[_Answer], PolyarchError]
    ) -> _Answer:
        """Return the answer to a request, whatever its status; one that may pass only if it is the last.

        `refusal` makes an answer that isn't wanted into an error, and is done with it. Raises as `run` does.
        """

        def once() -> _Answer:
            found = send()
            if passes(found.status) and self._left:
                raise refusal(found)
            return found

        return self.run(once)

    def begin(self) -> None:
        """Count one. Raises Cancelled."""
        self._cancel.check()
        self._used += 1

    def wait(self, error: RemoteError) -> None:
        """Wait until it is time to try again. Raises `error` if that won't help, Cancelled."""
        if not error.temporary or self._left <= 0:
            raise error
        # A connection that was kept may have been hung up on just now: that's no sign of trouble.
        is_first_break = self._used == 1 and not error.status
        usual = _MOMENT if is_first_break else _FIRST_WAIT * 2 ** (self._used - 1)
        self._pause(error.wait or usual, self._cancel)

    @property
    def _left(self) -> int:
        return self._limit - self._used


def told_wait(retry_after: str) -> float:
    """Return the seconds of a `Retry-After` field, a moment to half a minute; 0.0 if it doesn't tell.

    Its other form, a date, isn't read: who limits requests sends seconds, and a date is as good as the
    clocks of two machines agree.
    """
    if not retry_after.isdecimal():
        return 0.0
    return max(_MOMENT, min(float(retry_after), _LONGEST_WAIT))
