"""Progress as lines of text, for logs and pipes.

Every step has a number, given when it is first shown. Steps run side by side but are shown one at a
time: the display stays with a step until it ends, unless another one ended or is much busier.

    #1 [internal] load build definition from Dockerfile
    #1 transferring dockerfile: 208B done
    #1 DONE 0.0s

Source: the behaviour of BuildKit's progressui. Unlike there, no clock drives this display: every event
is shown at once, except for parts of steps that have only begun.
"""

from __future__ import annotations

from collections.abc import Iterable

from polyarch.cli.display.base import Settings, Terminal, TerminalDisplay
from polyarch.cli.display.summary import summary
from polyarch.cli.display.trace import Status, Trace, Vertex, failure_logs, is_cancelled
from polyarch.digest import Digest
from polyarch.golang.strconv import quote
from polyarch.progress import Event, StatusEvent, StepEvent, WarningEvent
from polyarch.record import field, frozen, mutable

__all__ = ["PlainDisplay"]

# Seconds that the display stays with a step at least (stretched by its share of the output), and that
# another one waits at most.
_ANTI_FLICKER = 5.0
_MAX_DELAY = 10.0
# A part is shown again after so many seconds. (BuildKit does so after a twentieth of it, too, which is
# twenty lines for a blob that nobody waits for.)
_STATUS_SECONDS = 5.0
# News of a part this young wait for the next event: most parts end before.
_STATUS_GRACE = 0.1
_FAILURE_LINES = 10
_SHORT_NAME = 72


@mutable
class _Place:
    """Where a step's output has got to."""

    number: int
    warnings: int = 0
    offset: int = 0
    statuses: dict[str, Status] = field(default_factory=dict)


@frozen
class _Activity:
    waited: float
    speed: float
    overdue: bool


class PlainDisplay(TerminalDisplay):
    """Writes each event as lines, at once."""

    def __init__(self, settings: Settings, terminal: Terminal) -> None:
        super().__init__(settings, terminal)
        self._trace = Trace(keep=_FAILURE_LINES)
        self._places: dict[Digest, _Place] = {}
        self._current: Vertex | None = None
        self._out = bytearray()
        self._cuts_names = settings.environ.get("PROGRESS_NO_TRUNC") == "0"
        self._titled = False
        self._now = 0.0
        self._first = True

    def number(self, step: Digest) -> int:
        """Return the number that a step is shown with; 0 if it wasn't yet."""
        place = self._places.get(step)
        return place.number if place else 0

    def _take(self, event: Event) -> None:
        now = self._now = self.settings.clock()
        self._trace.apply(event, now)
        if isinstance(event, WarningEvent):
            return  # they come in flocks
        if isinstance(event, StepEvent) and event.started is None:
            return  # it waits, and nothing is shown of it
        if isinstance(event, StatusEvent) and event.completed is None:
            begun = event.started if event.started is not None else now
            if now - begun < _STATUS_GRACE:
                return
        self._print(now)
        self._flush()

    def _end(self, error: BaseException | None) -> None:
        now = self._now = self.settings.clock()
        if error is not None:
            self._trace.cancel(now)
        self._print(now)
        if self._current is not None and self._current.partial:
            self._line("")
        self._out += failure_logs(self._trace)
        colour = self._terminal.is_tty and not self.settings.environ.get("NO_COLOR")
        text = summary(self.warnings, debug=self.settings.debug, colour=colour)
        self._out += text.encode(errors="replace")
        self._flush()

    def _flush(self) -> None:
        if self._out:
            self._terminal.write(bytes(self._out))
            self._out.clear()

    def _line(self, text: str) -> None:
        self._out += text.encode(errors="replace") + b"\n"

    # Which step to show.

    def _print(self, now: float) -> None:
        self._print_title()
        current = self._current
        fresh = [self._trace.by_digest[digest] for digest in self._trace.updates]
        ended = [vertex for vertex in fresh if vertex.completed]
        running = [vertex for vertex in fresh if not vertex.completed]
        self._print_ended(ended, current)
        if not running:
            self._show_any_open(current)
            return
        if _holds(running, current):
            self._print_vertex(current)
        elif current is not None:
            running.append(current)
        self._choose(running, None if _holds(ended, current) else current, now)

    def _print_title(self) -> None:
        caption = self.settings.caption
        if caption is not None and caption.builder and not self._titled:
            self._titled = True
            name = quote(caption.builder)
            self._line(f"#0 building with {name} instance using {caption.driver} driver\n")

    def _print_ended(self, ended: Iterable[Vertex], current: Vertex | None) -> None:
        for vertex in sorted(ended, key=lambda v: (v is not current, v.last_interval()[1])):
            self._print_vertex(vertex)

    def _show_any_open(self, current: Vertex | None) -> None:
        if current is not None and current.started and not current.completed:
            return
        for vertex in self._trace.shown:
            if not vertex.completed:
                self._print_vertex(vertex)
                return

    def _choose(self, running: list[Vertex], current: Vertex | None, now: float) -> None:
        """Go to another step, or stay: after an end, for fairness, or for one long unseen."""
        activities = {v.digest: _activity(v, current, now) for v in running}
        busiest = _busiest(running, activities)
        if current is None:
            self._print_vertex(busiest)
            return
        for vertex in running:
            if activities[vertex.digest].overdue:
                self._print_vertex(vertex)
                return
        total = sum(activity.speed for activity in activities.values())
        mine = activities[current.digest]
        rest = 1 - mine.speed / total if total else 1.0
        if rest > 0 and _ANTI_FLICKER / rest < mine.waited:
            self._print_vertex(busiest)

    # How a step is shown.

    def _print_vertex(self, vertex: Vertex | None) -> None:
        if vertex is None:
            return
        place = self._places.get(vertex.digest)
        if place is None:
            place = self._places[vertex.digest] = _Place(number=len(self._places) + 1)
        if vertex is not self._current:
            self._switch_to(vertex, place)
        has_open_status = self._print_statuses(vertex, place)
        for warning in vertex.warnings[place.warnings :]:
            self._line(f"#{place.number} WARN: {warning.short}")
        place.warnings = len(vertex.warnings)
        self._print_logs(vertex, place)
        self._current = vertex
        # Parts may be told of after the step's end; those of one that failed stay as they are.
        if vertex.completed and (vertex.error or not has_open_status):
            self._current = None
            vertex.count = 0
            if vertex.partial:
                self._line("")
            self._line(f"#{place.number} {_outcome(vertex)}")
        self._trace.updates.pop(vertex.digest, None)

    def _switch_to(self, vertex: Vertex, place: _Place) -> None:
        old = self._current
        if old is not None:
            left = self._places[old.digest]
            if old.partial:
                self._line("")
            left.offset = 0
            old.count = 0
            self._line(f"#{left.number} ...")
        if not self._first:
            self._line("")
        self._first = False
        name = vertex.name
        if self._cuts_names and len(name) > _SHORT_NAME:
            name = name[:_SHORT_NAME] + "..."
        self._line(f"#{place.number} {name}")

    def _print_statuses(self, vertex: Vertex, place: _Place) -> bool:
        """Show the parts with news; returns whether one of those is still open."""
        has_open = False
        young: set[str] = set()
        for status in vertex.statuses.values():
            event = status.event
            if event.id not in vertex.fresh_statuses or event.started is None:
                continue
            if event.completed is None and _is_too_soon(status, place.statuses.get(event.id)):
                continue
            if event.completed is None and self._now - event.started < _STATUS_GRACE:
                young.add(event.id)
                continue
            place.statuses[event.id] = status
            has_open |= event.completed is None
            self._line(f"#{place.number} {_status_line(status)}")
        vertex.fresh_statuses = young
        return has_open

    def _print_logs(self, vertex: Vertex, place: _Place) -> None:
        number = f"#{place.number} ".encode()
        for index, line in enumerate(vertex.lines):
            # The beginning of an unfinished line stands there already.
            offset = place.offset if index == 0 else 0
            self._out += line[offset:] if offset else number + line
            if index < len(vertex.lines) - 1 or not vertex.partial:
                self._out += b"\n"
        if vertex.lines and vertex.partial:
            del vertex.lines[:-1]
            place.offset = len(vertex.lines[0])
        else:
            vertex.lines.clear()
            place.offset = 0


def _holds(vertices: Iterable[Vertex], wanted: Vertex | None) -> bool:
    # The very one: steps of like state are equal.
    return any(vertex is wanted for vertex in vertices)


def _activity(vertex: Vertex, current: Vertex | None, now: float) -> _Activity:
    waited = now - vertex.since
    return _Activity(
        waited=waited,
        speed=vertex.count / max(waited, 1e-9),
        overdue=waited > _MAX_DELAY and vertex is not current,
    )


def _busiest(running: Iterable[Vertex], activities: dict[Digest, _Activity]) -> Vertex | None:
    busiest = None
    for vertex in running:
        activity = activities[vertex.digest]
        if busiest is None or activity.overdue or activities[busiest.digest].speed < activity.speed:
            busiest = vertex
    return busiest


def _is_too_soon(status: Status, last: Status | None) -> bool:
    return last is not None and status.time - last.time < _STATUS_SECONDS


def _status_line(status: Status) -> str:
    event = status.event
    if event.is_remark:
        return event.id
    sizes = status.sizes()
    out = event.id + (f" {sizes}" if sizes else "")
    end = status.time if event.completed is None else event.completed
    if event.started is not None and end - event.started > 0.01:
        out += f" {end - event.started:.1f}s"
    return out + ("" if event.completed is None else " done")


def _outcome(vertex: Vertex) -> str:
    if is_cancelled(vertex.error):
        return "CANCELED"
    if vertex.error:
        return f"ERROR: {vertex.error}"
    if vertex.cached:
        return "CACHED"
    return f"DONE {vertex.seconds(0.0):.1f}s"
