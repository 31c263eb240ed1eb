"""One picture of a build for a terminal: a trace -> styled lines.

    [+] Building 1.2s (3/9)                                       docker-container:builder
     => [linux/amd64 build 1/2] FROM docker.io/library/alpine                          0.3s
     => => sha256:6a0a 3.15MB / 3.40MB                                                 0.2s
     => [linux/arm64 build 2/2] RUN make                                               0.9s
     => => # cc -o hello hello.c

The layout, and which rows and logs are shown when there isn't room for all, are BuildKit's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyarch.cli.display.base import Caption
from polyarch.cli.display.cells import cell_width, clip_cells
from polyarch.cli.display.colours import RESET, Colours
from polyarch.cli.display.screen import screen_lines
from polyarch.cli.display.trace import Trace, Vertex, is_cancelled
from polyarch.digest import Digest
from polyarch.record import frozen

__all__ = ["Row", "View", "draw", "wrap_rows"]

_PREFIX = " => "
_LOG_PREFIX = " => => # "
_FAINT = "\x1b[2m"
# Cells beside a log that stay free, for its prefix.
_LOG_MARGIN = 10
_MIN_LOG_LINES = 6
_MIN_NAME = 12


@frozen
class View:
    """What the terminal is like, in cells, and how to draw on it; `log_lines` is the user's wish."""

    width: int
    height: int
    colours: Colours
    caption: Caption | None = None
    log_lines: int = _MIN_LOG_LINES
    final: bool = False

    @property
    def panel(self) -> int:
        """How many lines the log of one step gets."""
        return max(_MIN_LOG_LINES, min(self.log_lines, self.height - _MIN_LOG_LINES - 1))


@frozen
class Row:
    """A line of the picture."""

    name: str
    seconds: float
    completed: bool
    colour: str = ""
    status: str = ""
    vertex: Vertex | None = None


def draw(trace: Trace, view: View, now: float, seen: dict[str, int]) -> list[str]:
    """Return the lines of the picture at `now`, none wider than the terminal.

    `seen` counts how often the log of each step was shown, so that a step that prints much doesn't keep
    its place forever only because another one prints more; it is updated.
    """
    rows = list(_rows(trace, view, now))
    logs = _logs(rows, view, seen)
    if not view.final:
        rows = wrap_rows(rows, view.height - 2 - sum(map(len, logs.values())))
    lines = [_header(trace, view, now)]
    for row in rows:
        line = _line(row, view)
        if line is None:
            continue
        lines.append(line)
        for text in logs.get(row.vertex.digest, ()) if row.vertex is not None else ():
            shown = clip_cells(_LOG_PREFIX + text, view.width - 1)
            lines.append(f"{_FAINT}{shown}{RESET}")
    return lines


def _header(trace: Trace, view: View, now: float) -> str:
    total = len(trace.by_digest)
    completed = sum(vertex.completed for vertex in trace.by_digest.values())
    seconds = 0.0 if trace.start is None else now - trace.start - trace.skew
    caption = view.caption if view.caption is not None else Caption()
    out = f"[+] {caption.work} {seconds:.1f}s ({completed}/{total})"
    if view.final and 0 < completed == total:
        out += " FINISHED"
    if caption.builder:
        right = f"{caption.driver}:{caption.builder}"
        out = out.ljust(view.width - 2 - cell_width(right)) + " " + right
    return clip_cells(out, view.width - 1)


def _rows(trace: Trace, view: View, now: float) -> Iterator[Row]:
    here = now - trace.skew
    for vertex in trace.shown:
        yield _vertex_row(vertex, view.colours, here)
        for status in vertex.statuses.values():
            event = status.event
            if event.started is None:
                continue
            end = here if event.completed is None else event.completed
            yield Row(
                name=f"=> {event.id}",
                seconds=end - event.started,
                completed=event.completed is not None,
                colour=view.colours.run,
                status=status.sizes(),
            )
        for warning in vertex.warnings:
            start, stop = vertex.last_interval()
            yield Row(
                name=f"WARN: {warning.short}",
                seconds=(here if stop is None else stop) - start,
                completed=False,
            )


def _vertex_row(vertex: Vertex, palette: Colours, now: float) -> Row:
    name, colour = vertex.name.replace("\t", " "), palette.run
    if is_cancelled(vertex.error):
        name, colour = f"CANCELED {name}", palette.cancel
    elif vertex.error:
        name, colour = f"ERROR {name}", palette.error
    if vertex.cached:
        name = f"CACHED {name}"
    return Row(
        name=name,
        seconds=vertex.seconds(now),
        completed=vertex.completed,
        colour=colour,
        vertex=vertex,
    )


def _logs(rows: Sequence[Row], view: View, seen: dict[str, int]) -> dict[Digest, Sequence[str]]:
    """Return the logs of the steps with most to tell, while there is room."""
    open_rows = [row for row in rows if not row.completed]
    candidates = [row.vertex for row in open_rows if row.vertex is not None and row.vertex.log_size]
    candidates.sort(key=lambda each: each.log_size + 50 * seen.get(each.digest, 0), reverse=True)
    free = view.height - 2 - len(open_rows)
    logs: dict[Digest, Sequence[str]] = {}
    for vertex in candidates:
        if free <= view.panel + 3:
            break
        width = view.width - _LOG_MARGIN
        logs[vertex.digest] = screen_lines(bytes(vertex.raw), width=width, height=view.panel)
        seen[vertex.digest] = seen.get(vertex.digest, 0) + 1
        free -= view.panel + 3
    return logs


def wrap_rows(rows: Sequence[Row], limit: int) -> list[Row]:
    """Keep the last `limit` rows, and earlier ones that are still open in place of ended ones."""
    if limit < 0:
        return []
    if len(rows) <= limit:
        return list(rows)
    cut = len(rows) - limit
    kept = rows[cut:]
    invisible = [row for row in rows[:cut] if not row.completed]
    if not invisible:
        return list(kept)
    # As many ended rows as there are open ones out of sight make room, the upper ones first.
    stay = [row for index, row in enumerate(kept) if not row.completed or index >= len(invisible)]
    room = len(kept) - len(stay)
    return [*invisible[len(invisible) - room :], *stay]


def _line(row: Row, view: View) -> str | None:
    """Write a row; None if the terminal is too narrow for it."""
    seconds = row.seconds if row.seconds >= 0.05 else 0.0
    timer = f" {seconds:.1f}s"
    room = view.width - len(_PREFIX) - len(timer) - 2
    shows_status = bool(row.status) and room + len(row.status) > 20
    if shows_status:
        room -= len(row.status) + 1
    if room < _MIN_NAME:
        return None
    out = _PREFIX + clip_cells(row.name, room)
    if shows_status:
        out += " " + row.status
    out += " " * max(0, view.width - 1 - len(timer) - cell_width(out)) + timer
    return f"{row.colour}{out}{RESET}" if row.completed and row.colour else out
