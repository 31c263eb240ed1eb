"""What all displays have in common: a lock, the clipping of logs, one end, and where bytes go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import BinaryIO, Self, TextIO

from polyarch.cli.display.clip import LogClipper
from polyarch.digest import Digest
from polyarch.progress import Event, LogEvent, StepEvent, WarningEvent
from polyarch.record import frozen

__all__ = ["Caption", "Display", "Settings", "Terminal", "TerminalDisplay"]


@frozen
class Caption:
    """What is done, and by whom: the builder's name and its driver, if it is a build."""

    builder: str = ""
    driver: str = ""
    work: str = "Building"


@frozen
class Settings:
    """What a display is told. `clock` gives seconds since the epoch; `debug` expands warnings."""

    environ: Mapping[str, str]
    clock: Callable[[], float]
    caption: Caption | None = None
    debug: bool = False


class Terminal:
    """A stream to print on, as bytes: what steps print needn't be text.

    A stream that breaks (a closed pipe, a full disk) ends the display, not the build.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._raw: BinaryIO | None = getattr(stream, "buffer", None)
        self._broken = False

    @property
    def is_tty(self) -> bool:
        """Whether somebody watches."""
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor. Raises OSError if it has none."""
        return self._stream.fileno()

    def write(self, data: bytes) -> None:
        """Print and flush; nothing after the stream broke."""
        if self._broken:
            return
        try:
            if self._raw is None:
                self._stream.write(data.decode(errors="replace"))
            else:
                self._raw.write(data)
            self._stream.flush()
        except (OSError, ValueError):
            self._broken = True


class Display:
    """A sink that shows events, and a context that ends itself; this one shows nothing.

    Events may come from any thread. What comes after the end is forgotten.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.warnings: list[WarningEvent] = []
        self._clipper = LogClipper(settings.environ)
        self._lock = threading.Lock()
        self._ended = False
        self._numbers: dict[Digest, int] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            if self._ended:
                return
            if isinstance(event, StepEvent) and event.started is not None:
                self._numbers.setdefault(event.step, len(self._numbers) + 1)
            if isinstance(event, WarningEvent):
                self.warnings.append(event)
            elif isinstance(event, LogEvent):
                clipped = self._clipper.clip(event)
                if clipped is None:
                    return
                event = clipped
            else:
                self._clipper.note(event)
            self._take(event)

    def number(self, step: Digest) -> int:
        """Return a step's number: steps are counted as they begin. 0 for one that wasn't told of."""
        return self._numbers.get(step, 0)

    def finish(self, error: BaseException | None = None) -> None:
        """Show the final state, the logs of failed steps and a summary of warnings; once.

        `error` is what ended the build: with one, steps that still run are shown as cancelled. The error
        itself is the caller's to show.
        """
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._end(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(error)

    def _take(self, event: Event) -> None:
        """Show an event; called under the lock, before the end."""

    def _end(self, error: BaseException | None) -> None:
        """Show the end; called once, without the lock, after the last `_take`."""


class TerminalDisplay(Display):
    """A display that prints."""

    def __init__(self, settings: Settings, terminal: Terminal) -> None:
        super().__init__(settings)
        self._terminal = terminal
