"""The state of a build as its events tell it; what the text displays draw from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from polyarch.digest import Digest
from polyarch.golang.units import progress_size
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent
from polyarch.record import field, frozen, mutable, replace
from polyarch.text.shown import shown, shown_line

__all__ = ["Status", "Trace", "Vertex", "failure_logs", "is_cancelled"]


@frozen
class Status:
    """A part of a step, as last heard of at `time`."""

    event: StatusEvent
    time: float

    def sizes(self) -> str:
        """How much of it is done: `1.02kB / 4.10kB`, or "" where nothing is counted."""
        if self.event.total:
            return f"{progress_size(self.event.current)} / {progress_size(self.event.total)}"
        return progress_size(self.event.current) if self.event.current else ""


@mutable
class Vertex:
    """A step. It may run several times; `intervals` is when, open ones ending with None."""

    digest: Digest
    name: str
    tail: deque[bytearray]
    cached: bool = False
    error: str = ""
    intervals: dict[float, float | None] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)
    fresh_statuses: set[str] = field(default_factory=set)
    warnings: list[WarningEvent] = field(default_factory=list)
    lines: list[bytearray] = field(default_factory=list)
    partial: bool = False
    log_size: int = 0
    raw: bytearray = field(default_factory=bytearray)
    # How busy the step was since its output was last switched away from.
    count: int = 0
    since: float = 0.0

    @property
    def started(self) -> bool:
        """Whether it ran at all."""
        return bool(self.intervals)

    @property
    def completed(self) -> bool:
        """Whether its last run has ended."""
        return self.started and self.last_interval()[1] is not None

    def last_interval(self) -> tuple[float, float | None]:
        """The last of the merged times at which it ran; it must have started."""
        return self.merged()[-1]

    def merged(self) -> list[tuple[float, float | None]]:
        """When it ran, earliest first, without overlaps."""
        if len(self.intervals) < 2:  # nearly always, and asked of all steps with each event
            return [*self.intervals.items()]
        merged: list[tuple[float, float | None]] = []
        for start, stop in sorted(self.intervals.items()):
            if not merged or not _overlaps(merged[-1][1], start):
                merged.append((start, stop))
                continue
            first, last = merged[-1]
            end = None if last is None or stop is None else max(last, stop)
            merged[-1] = (first, end)
        return merged

    def seconds(self, now: float) -> float:
        """How long it ran, until `now` if it still does."""
        return sum((now if stop is None else stop) - start for start, stop in self.merged())

    def touch(self, now: float) -> None:
        """Note that something happened."""
        if self.count == 0:
            self.since = now
        self.count += 1


def _overlaps(stop: float | None, start: float) -> bool:
    return stop is None or start <= stop


# Enough for the panel of the largest terminal; the terminal display looks no further back.
_RAW_SIZE = 16 * 1024


class Trace:
    """All steps of a build. `keep` is how many log lines of a step are kept for its failure."""

    def __init__(self, *, keep: int | None) -> None:
        self.by_digest: dict[Digest, Vertex] = {}
        self.shown: list[Vertex] = []
        self.updates: dict[Digest, None] = {}
        self.start: float | None = None
        self.skew = 0.0
        self._keep = keep
        self._last: dict[Digest, StepEvent] = {}

    def apply(self, event: Event, now: float) -> None:
        """Take one event. What is told of a step that was never announced is forgotten.

        Its control characters are escaped, but for those of logs.
        """
        event = _escaped(event)
        if isinstance(event, StepEvent):
            self._apply_step(event, now)
            return
        vertex = self.by_digest.get(event.step)
        if vertex is None:
            return
        vertex.touch(now)
        if isinstance(event, WarningEvent):
            # A warning is shown with the step's next news; behind its end there won't be any.
            vertex.warnings.append(event)
            if vertex.completed:
                self.updates[event.step] = None
            return
        self.updates[event.step] = None
        if isinstance(event, StatusEvent):
            vertex.statuses[event.id] = Status(event=event, time=now)
            vertex.fresh_statuses.add(event.id)
        else:
            _add_log(vertex, event)

    def _apply_step(self, event: StepEvent, now: float) -> None:
        if self.start is None and event.started is not None:
            self.start = event.started
            # Times may come from another machine, or from long ago.
            self.skew = now - event.started
        vertex = self.by_digest.get(event.step)
        if vertex is None:
            vertex = Vertex(digest=event.step, name=event.name, tail=deque(maxlen=self._keep))
            self.by_digest[event.step] = vertex
        if event.started is None:
            return
        if not vertex.started:
            self.shown.append(vertex)
        if self._last.get(event.step) != event:
            self._last[event.step] = event
            self.updates[event.step] = None
            vertex.touch(now)
        vertex.name, vertex.cached, vertex.error = event.name, event.cached, event.error
        vertex.intervals[event.started] = event.completed

    def cancel(self, now: float) -> None:
        """End the steps that still run, as a build does that was ended by an error."""
        for digest, vertex in self.by_digest.items():
            if vertex.started and not vertex.completed:
                vertex.intervals = {
                    start: now if stop is None else stop for start, stop in vertex.intervals.items()
                }
                vertex.error = "canceled"
                self.updates[digest] = None

    def failed(self) -> Iterator[Vertex]:
        """The steps that ended with an error of their own, in the order of their start."""
        return (v for v in self.shown if v.error and not is_cancelled(v.error))


def _escaped(event: Event) -> Event:
    """Return the event as people may be shown it: names come from Dockerfiles, files and servers."""
    if isinstance(event, StepEvent):
        if not (event.name.isprintable() and event.error.isprintable()):
            return replace(event, name=shown_line(event.name), error=shown(event.error))
    elif isinstance(event, StatusEvent):
        if not event.id.isprintable():
            return replace(event, id=shown_line(event.id))
    elif isinstance(event, WarningEvent) and not event.short.isprintable():
        return replace(event, short=shown(event.short))
    return event


def _add_log(vertex: Vertex, event: LogEvent) -> None:
    if not event.data:
        return
    vertex.log_size += len(event.data)
    vertex.raw += event.data
    del vertex.raw[:-_RAW_SIZE]
    pieces = event.data.split(b"\n")
    ends_open = bool(pieces[-1])
    if not ends_open:
        pieces.pop()
    if vertex.partial and vertex.lines:
        # One terminal, one line: BuildKit, too, doesn't tell the streams of a step apart.
        vertex.lines[-1] += pieces.pop(0)
    start = vertex.last_interval()[0] if vertex.started else event.time
    prefix = _log_time(event.time - start)
    for piece in pieces:
        line = bytearray(prefix + piece)
        vertex.lines.append(line)
        vertex.tail.append(line)
    vertex.partial = ends_open


def _log_time(seconds: float) -> bytes:
    decimals = 3 if seconds < 10 else 2 if seconds < 100 else 1
    return f"{seconds:.{decimals}f} ".encode()


def is_cancelled(error: str) -> bool:
    """Whether a step's error only says that it was cancelled."""
    return error.endswith(("canceled", "cancelled"))


def failure_logs(trace: Trace) -> bytes:
    """What failed steps printed last, framed."""
    out = bytearray()
    for vertex in trace.failed():
        out += b"------\n > " + vertex.name.encode(errors="replace") + b":\n"
        for line in vertex.tail:
            out += line + b"\n"
        out += b"------\n"
    return bytes(out)
