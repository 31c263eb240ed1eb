"""Tells the sink how the steps of one solve go."""

from __future__ import annotations

import threading
from collections.abc import Callable

from polyarch.digest import Digest
from polyarch.errors import PolyarchError
from polyarch.graph.op import ScratchOp
from polyarch.graph.vertex import Vertex
from polyarch.progress import Sink, StatusEvent, StepEvent
from polyarch.record import replace

__all__ = ["Announcer", "is_silent"]

_WAITING = "waiting for another build of this step"


class Announcer:
    """Sends a step's events: that it waits, started once, when its first work begins, and how it ended.

    May be used from several threads. Vertices without a name and empty roots are passed over. A step
    that was found and then had to run after all is announced a second time, as BuildKit does.
    """

    def __init__(self, sink: Sink, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._started: dict[Digest, tuple[Vertex, float]] = {}
        self._seen: set[Digest] = set()
        self._waiting: dict[Digest, float] = {}

    def announced(self, vertex: Vertex) -> None:
        """There is this vertex; whoever counts steps knows of all of them before the first begins."""
        if not is_silent(vertex):
            self._sink(_event(vertex, None))

    def skipped(self, vertex: Vertex) -> None:
        """The solve ended well; nobody needed to look at `vertex`, unless somebody did."""
        if vertex.digest not in self._seen:
            self._complete(vertex, cached=True)

    def started(self, vertex: Vertex) -> None:
        """Work on `vertex` begins, or goes on."""
        if is_silent(vertex):
            return
        with self._lock:
            if vertex.digest in self._started:
                return
            now = self._clock()
            self._started[vertex.digest] = vertex, now
            self._seen.add(vertex.digest)
        self._sink(_event(vertex, now))

    def found(self, vertex: Vertex) -> None:
        """An earlier result stands in for `vertex`, and so for sources of it that nobody asked for."""
        for source in vertex.inputs:
            if not source.inputs and source.digest not in self._seen:
                self._complete(source, cached=True)
        self._complete(vertex, cached=True)

    def ran(self, vertex: Vertex) -> None:
        """The work on `vertex` is done."""
        self._complete(vertex)

    def failed(self, vertex: Vertex, error: BaseException) -> None:
        """The work on `vertex` ended with an error."""
        retryable = isinstance(error, PolyarchError) and error.retryable
        self._complete(vertex, error=str(error) or type(error).__name__, retryable=retryable)

    def canceled(self, vertex: Vertex) -> None:
        """The work on `vertex`, if it had begun, won't be ended."""
        if vertex.digest in self._started:
            self._complete(vertex, error="canceled")

    def cancel_all(self) -> None:
        """All work that was begun and hasn't ended, won't."""
        for vertex, _ in list(self._started.values()):
            self._complete(vertex, error="canceled")

    def waits(self, vertex: Vertex) -> None:
        """Another build does the very same step, which is waited for."""
        self.started(vertex)
        if not is_silent(vertex):
            now = self._waiting[vertex.digest] = self._clock()
            self._sink(StatusEvent(step=vertex.digest, id=_WAITING, started=now))

    def waited(self, vertex: Vertex) -> None:
        """The waiting for another build, if there was any, is over."""
        since = self._waiting.pop(vertex.digest, None)
        if since is not None:
            now = self._clock()
            self._sink(StatusEvent(step=vertex.digest, id=_WAITING, started=since, completed=now))

    def _complete(
        self, vertex: Vertex, *, cached: bool = False, error: str = "", retryable: bool = False
    ) -> None:
        if is_silent(vertex):
            return
        now = self._clock()
        with self._lock:
            self._seen.add(vertex.digest)
            _, started = self._started.pop(vertex.digest, (vertex, now))
        event = _event(vertex, started)
        ended = replace(event, completed=now, cached=cached, error=error, retryable=retryable)
        self._sink(ended)


def _event(vertex: Vertex, started: float | None) -> StepEvent:
    return StepEvent(
        step=vertex.digest,
        name=vertex.name,
        inputs=tuple(source.digest for source in vertex.inputs),
        started=started,
    )


def is_silent(vertex: Vertex) -> bool:
    """Tell whether nobody hears of a vertex."""
    return not vertex.name or isinstance(vertex.op, ScratchOp)
