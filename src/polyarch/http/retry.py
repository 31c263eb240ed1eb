"""Trying again: the only module that does.

An operation (a manifest, a blob, an upload, a file) has five attempts, whatever fails in them, so a failing
server gets at most five requests that fail. An upload is two requests: if the second one always fails, both
are sent five times. Redirects and requests for a token are part of an attempt. An attempt at a blob that
brought enough of it (`renew`) starts a new count, since the next one continues where it ended: a large blob
arrives over a bad line as long as one attempt in five gets on, and five in a row that don't are the end.

All other modules send once and raise errors that say by `temporary` whether trying again may help, and by
`wait` how long the server asked to be left alone.
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
        408,  # Request Timeout: also what some say on a kept connection before they close it
        425,  # Too Early
        429,  # Too Many Requests
        500,  # Internal Server Error: registries answer so while their storage is away
        502,  # Bad Gateway, and the other two of proxies
        503,  # Service Unavailable
        504,  # Gateway Timeout
    }
)
"""Statuses that may be different a second later. 501 and 505 say what a server can't do at all."""

_ATTEMPTS = 5
_FIRST_WAIT = 0.5
"""Seconds after the first failure, doubled after each further one: 7.5 in all."""
_MOMENT = 0.05
_LONGEST_WAIT = 30.0
"""Seconds; a server that asks for more is asked again earlier. Four such waits are two minutes, which is also how
long a silent server is waited for. Limits per minute are over by then. Those of Docker Hub last for hours: an
error that says so is of more use than a build that stands still."""

Pause = Callable[[float, CancelToken], None]
"""Waits for some seconds, or until cancelled."""


class _HasStatus(Protocol):
    """An answer."""

    @property
    def status(self) -> int:
        """Its status."""


class _Fields(Protocol):
    """The header fields of an answer."""

    def get(self, name: str, default: str = "", /) -> str:
        """Return the value of a field."""


_Answer = TypeVar("_Answer", bound=_HasStatus)


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


def told_wait(fields: _Fields) -> float:
    """Return the seconds of a `Retry-After` field, a moment to half a minute; 0.0 if it doesn't tell.

    Its other form, a date, is taken from the server's own `Date`: the clocks of two machines rarely agree.
    """
    told = fields.get("Retry-After")
    if told.isdecimal() and len(told) < 10:
        seconds = float(told)
    elif told and (now := fields.get("Date")):
        # Few answers have a date in this place, and loading what reads it takes 10 ms.
        from email.utils import parsedate_to_datetime  # noqa: PLC0415

        try:
            seconds = (parsedate_to_datetime(told) - parsedate_to_datetime(now)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    else:
        return 0.0
    return max(_MOMENT, min(seconds, _LONGEST_WAIT))
