"""What happens during a build, as values; the same four kinds that BuildKit's clients know.

A `Sink` is any function that takes events. It is called from several threads at once and must return
soon. Times are seconds since the epoch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from polyarch.digest import Digest, sha256
from polyarch.errors import Cancelled, PolyarchError
from polyarch.record import field, frozen

__all__ = [
    "CANCELED",
    "CancelToken",
    "Count",
    "Event",
    "LogEvent",
    "Sink",
    "StatusEvent",
    "Step",
    "StepEvent",
    "WarningEvent",
    "announce",
    "cancellable",
    "check_cancelled",
    "current_check",
    "current_token",
    "ignore_events",
    "step",
]


@frozen
class StepEvent:
    """A step (a vertex of the graph) was announced, started or ended.

    Sent again with more fields set as the step goes on; `completed` is set in the last one. `retryable` says of an
    error that the same build may do a little later.
    """

    step: Digest
    name: str
    inputs: tuple[Digest, ...] = ()
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""
    retryable: bool = False


@frozen
class StatusEvent:
    """How far a part of a step is: a blob that is fetched, a manifest that is pushed.

    `current` and `total` are bytes, 0 where there are none to count. `is_remark` says that `id` is all there
    is to say, and no work that is done.
    """

    step: Digest
    id: str
    current: int = 0
    total: int = 0
    started: float | None = None
    completed: float | None = None
    is_remark: bool = False


@frozen
class LogEvent:
    """Bytes that a step printed; `stream` is 1 for standard output and 2 for standard error.

    `kept` is the path of the file that has all that the step printed, "" if there is none.
    """

    step: Digest
    stream: int
    data: bytes
    time: float
    kept: str = ""


@frozen
class WarningEvent:
    """A remark on the Dockerfile or the build.

    `excerpt` shows the place, from `line` to `last_line` of the file `filename`, whose text is
    `source`; without a place they are 0 and empty. `level` is how much it matters, as frontends count.
    """

    step: Digest
    short: str
    detail: tuple[str, ...] = ()
    url: str = ""
    excerpt: str = ""
    line: int = 0
    last_line: int = 0
    filename: str = ""
    source: str = field(default="", repr=False)
    level: int = 1


CANCELED = "canceled"
"""The error of a step that was ended before its time, which is no failure of its own."""
# Seconds between two events that say how far a part is.
_TELLING = 0.5

Event = StepEvent | StatusEvent | LogEvent | WarningEvent
Sink = Callable[[Event], None]
Count = Callable[[int], None]
"""Told of so many more bytes."""


def ignore_events(event: Event) -> None:
    """Take an event and do nothing: the sink of those who don't look."""


class Step:
    """Work that isn't a vertex of the graph but is shown like one; made by `step`."""

    def __init__(self, sink: Sink, name: str, digest: Digest) -> None:
        self.name = name
        self.digest = digest
        self._sink = sink

    def status(
        self,
        identifier: str,
        current: int = 0,
        total: int = 0,
        *,
        started: float,
        is_done: bool = False,
    ) -> None:
        """Tell how far a part of the step is, in bytes; `started` is when it began."""
        self._sink(
            StatusEvent(
                step=self.digest,
                id=identifier,
                current=current,
                total=total,
                started=started,
                completed=time.time() if is_done else None,
            )
        )

    def remark(self, text: str) -> None:
        """Say something of the step, in a line of its own."""
        now = time.time()
        event = StatusEvent(step=self.digest, id=text, started=now, completed=now, is_remark=True)
        self._sink(event)

    def warn(self, short: str) -> None:
        """Tell of something odd."""
        self._sink(WarningEvent(step=self.digest, short=short))

    @contextmanager
    def part(self, identifier: str, total: int = 0) -> Iterator[Count]:
        """Show a part of the step from its start to its end; give what may be told of bytes done."""
        counter = _Counter(self, identifier, lambda: total)
        self.status(identifier, 0, total, started=counter.started)
        yield counter.more
        counter.end(total)

    @contextmanager
    def counted(self, identifier: str, total: Callable[[], int]) -> Iterator[Count]:
        """As `part`, but nothing is shown of what is done soon; `total` is only called then."""
        counter = _Counter(self, identifier, total)
        yield counter.more
        if counter.has_told:
            counter.end()


class _Counter:
    """Tells of a part now and then. `total` gives its size in bytes, 0 if that isn't known."""

    def __init__(self, shown: Step, identifier: str, total: Callable[[], int]) -> None:
        self.started = self._told = time.time()
        self._shown = shown
        self._id = identifier
        self._find_total = total
        self._current = self._total = 0

    @property
    def has_told(self) -> bool:
        return self._told > self.started

    def more(self, size: int) -> None:
        self._current += size
        now = time.time()
        if now - self._told >= _TELLING:
            self._told = now
            # Sizes of trees are what they take on the disk, and archives may be a little more.
            found = self._total or self._find_total()
            self._total = max(self._current, found) if found else 0
            self._shown.status(self._id, self._current, self._total, started=self.started)

    def end(self, total: int = 0) -> None:
        current = total or self._current
        self._shown.status(self._id, current, current, started=self.started, is_done=True)


def announce(sink: Sink, name: str) -> Digest:
    """Tell of a step that is to come, for those who count; returns what `step` has to be given then."""
    digest = sha256(f"{name} {time.time()!r} {time.perf_counter_ns()}".encode())
    sink(StepEvent(step=digest, name=name))
    return digest


@contextmanager
def step(sink: Sink, name: str, digest: Digest | None = None) -> Iterator[Step]:
    """Show work as a step from its start to its end, or to the error that ended it."""
    started = time.time()
    digest = digest or sha256(f"{name} {started!r}".encode())
    sink(StepEvent(step=digest, name=name, started=started))
    error, retryable = "", False
    try:
        yield Step(sink, name, digest)
    except Cancelled:
        error = CANCELED
        raise
    except PolyarchError as failure:
        error, retryable = str(failure), failure.retryable
        raise
    finally:
        sink(
            StepEvent(
                step=digest,
                name=name,
                started=started,
                completed=time.time(),
                error=error,
                retryable=retryable,
            )
        )


class CancelToken:
    """A one-way switch that ends work: set once, from any thread, never unset.

    Leaving it as a context sets it, so that nothing goes on that was begun with it in the block.
    Those who wait for something outside (a child, a socket) register a callback that wakes them up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

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


_current = threading.local()


@contextmanager
def cancellable(token: CancelToken) -> Iterator[None]:
    """Let `check_cancelled` heed `token` in this thread, until the block ends.

    Loops over what others made (the entries of an archive, the files of a tree, the lines of a Dockerfile)
    lie so deep that handing a token down to each would be in the way of everything else.
    """
    before = getattr(_current, "token", None)
    _current.token = token
    try:
        yield
    finally:
        _current.token = before


def check_cancelled() -> None:
    """Raise Cancelled if this thread's work should end. Cheap enough for each turn of a loop."""
    token: CancelToken | None = getattr(_current, "token", None)
    if token is not None:
        token.check()


def current_token() -> CancelToken:
    """Return the token that this thread heeds, for another thread that works for this one; a new one if there is none."""
    token: CancelToken | None = getattr(_current, "token", None)
    return token or CancelToken()


def current_check() -> Callable[[], None]:
    """Return what does in another thread, which works for this one, as `check_cancelled` does here."""
    token: CancelToken | None = getattr(_current, "token", None)
    return (lambda: None) if token is None else token.check
