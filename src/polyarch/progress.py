"""What happens during a build, as values; the same four kinds that BuildKit's clients know.

A `Sink` is any function that takes events. It is called from several threads at once and must return
soon. Times are seconds since the epoch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from polyarch.digest import Digest
from polyarch.errors import Cancelled

__all__ = [
    "CancelToken",
    "Event",
    "LogEvent",
    "Sink",
    "StatusEvent",
    "StepEvent",
    "WarningEvent",
    "ignore_events",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """A step (a vertex of the graph) was announced, started or ended.

    Sent again with more fields set as the step goes on; `completed` is set in the last one.
    """

    step: Digest
    name: str
    inputs: tuple[Digest, ...] = ()
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """How far a part of a step is: a blob that is fetched, a manifest that is pushed.

    `current` and `total` are bytes, 0 where there are none to count.
    """

    step: Digest
    id: str
    current: int = 0
    total: int = 0
    started: float | None = None
    completed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """Bytes that a step printed; `stream` is 1 for standard output and 2 for standard error."""

    step: Digest
    stream: int
    data: bytes
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEvent:
    """A remark on the Dockerfile or the build; `excerpt` shows the place."""

    step: Digest
    short: str
    detail: tuple[str, ...] = ()
    url: str = ""
    excerpt: str = ""
    line: int = 0


Event = StepEvent | StatusEvent | LogEvent | WarningEvent
Sink = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Take an event and do nothing: the sink of those who don't look."""


class CancelToken:
    """A one-way switch that ends work: set once, from any thread, never unset.

    Those who wait for something outside (a child, a socket) register a callback that wakes them up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0

    @property
    def cancelled(self) -> bool:
        """Whether the work should end."""
        return self._cancelled

    def cancel(self) -> None:
        """End the work; a second call does nothing."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise Cancelled if the work should end."""
        if self._cancelled:
            raise Cancelled("the build was cancelled")

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called once on cancellation (at once if it has come already).

        Returns a function that takes the registration back.
        """
        with self._lock:
            if not self._cancelled:
                number, self._next = self._next, self._next + 1
                self._callbacks[number] = callback
                return lambda: self._forget(number)
        callback()
        return lambda: None

    def _forget(self, number: int) -> None:
        with self._lock:
            self._callbacks.pop(number, None)
