"""What is shown of a definition's files: a step as buildx has it, the first one of the build that comes after it.

It is kept until there is a display: that of the build, which numbers its steps on, or else one for itself.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from polyarch.cli.display.base import Display
from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Context
from polyarch.progress import Event, step

__all__ = ["Loading"]

_STEP = "[internal] load local bake definitions"
_STDIN = "-"


class Loading:
    """Keeps what is to be shown of files that were read; what nobody has shown by the end of the block is shown then."""

    def __init__(self, mode: str, context: Context) -> None:
        self._mode = mode
        self._context = context
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.show()

    def read(self, sizes: list[tuple[str, int]], *, variable: str = "") -> None:
        """Take note of the files that were read, of their sizes in bytes, and of the variable that names them, if one does."""
        name = f"{_STEP} from {variable} env" if variable else _STEP
        with step(self._events.append, name) as shown:
            for name, size in sizes:
                now = time.time()
                if name == _STDIN:
                    shown.status("reading from stdin", size, started=now, is_done=True)
                else:
                    shown.status(f"reading {name}", size, size, started=now, is_done=True)

    def show(self) -> None:
        """Show it in a display of its own, unless that was done."""
        if not self._events:
            return
        stream, environ = self._context.stderr, self._context.environ
        with open_display(self._mode, stream=stream, environ=environ) as display:
            self.show_in(display)

    def show_in(self, display: Display) -> None:
        """Show it in a display that others use after it, unless that was done."""
        events, self._events = self._events, []
        for event in events:
            display(event)
