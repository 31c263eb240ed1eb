"""Progress on a terminal: a picture that is drawn again and again in its place.

A thread draws, from the first event on. It waits 150 ms before it draws at all: a build out of the cache
is over by then, and only its last picture is printed. The cursor is hidden within a picture only, which is
written at once; so however the process ends, the cursor is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from polyarch.cli.display.base import Settings, Terminal, TerminalDisplay
from polyarch.cli.display.cells import cell_width
from polyarch.cli.display.colours import colours
from polyarch.cli.display.frame import View, draw
from polyarch.cli.display.summary import summary
from polyarch.cli.display.trace import Trace, failure_logs
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int
from polyarch.progress import Event, LogEvent

__all__ = ["TtyDisplay"]

_GRACE = 0.150
_INTERVAL_MS = 100
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


class TtyDisplay(TerminalDisplay):
    """Draws the state of the build."""

    def __init__(self, settings: Settings, terminal: Terminal) -> None:
        super().__init__(settings, terminal)
        self._trace = Trace(keep=None)
        self._colours = colours(settings.environ)
        self._log_lines = _positive(settings.environ, "BUILDKIT_TTY_LOG_LINES", 6)
        self._interval = _positive(settings.environ, "TTY_DISPLAY_RATE", _INTERVAL_MS) / 1000
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._widths: list[int] = []
        self._seen: dict[str, int] = {}

    def _take(self, event: Event) -> None:
        self._trace.apply(event, self.settings.clock())
        if isinstance(event, LogEvent):
            vertex = self._trace.by_digest.get(event.step)
            if vertex is not None:
                # Lines are kept in the tail; only the last may still grow.
                del vertex.lines[:-1]
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="display", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        if self._over.wait(_GRACE):
            return
        while True:
            self._draw(final=False)
            if self._over.wait(self._interval):
                return

    def _end(self, error: BaseException | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if error is not None:
            self._trace.cancel(self.settings.clock())
        self._draw(final=True)
        colour = not self.settings.environ.get("NO_COLOR")
        text = summary(self.warnings, debug=self.settings.debug, colour=colour)
        self._terminal.write(failure_logs(self._trace) + text.encode(errors="replace"))

    def _draw(self, *, final: bool) -> None:
        width, height = self._size()
        view = View(
            width=width,
            height=height,
            colours=self._colours,
            caption=self.settings.caption,
            log_lines=self._log_lines,
            final=final,
        )
        with self._lock:
            lines = draw(self._trace, view, self.settings.clock(), self._seen)
        if not final:
            # What is scrolled out can't be drawn over.
            del lines[max(1, height - 1) :]
        self._terminal.write(self._replace(lines, width).encode(errors="replace"))

    def _replace(self, lines: list[str], width: int) -> str:
        """Go to the beginning of the last picture and write the new one over it."""
        # If the terminal has become narrower, lines of the last picture now take several rows.
        up = sum(max(1, -(-cells // width)) for cells in self._widths)
        self._widths = [_visible_width(line) for line in lines]
        start = f"\x1b[{up}A\r" if up else "\r"
        body = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
        return f"{_HIDE}{start}{body}{_CLEAR_BELOW}{_SHOW}"

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._terminal.fileno())
        except (OSError, ValueError):
            return 80, 10
        return (size.columns, size.lines) if size.columns and size.lines else (80, 10)


def _visible_width(line: str) -> int:
    if line.startswith("\x1b["):
        line = line.partition("m")[2].removesuffix("\x1b[0m")
    return cell_width(line)


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    try:
        number = parse_int(environ.get(name, ""))
    except InputError:
        return default
    return number if number > 0 else default
