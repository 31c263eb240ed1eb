"""Choose how a build is shown.

auto             tty if the stream is a terminal, else plain
tty              a picture that changes; an error elsewhere
plain            lines
rawjson          lines of JSON, for programs
quiet, none      nothing
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TextIO

from polyarch.cli.display.base import Caption, Display, Settings, Terminal
from polyarch.cli.display.plain import PlainDisplay
from polyarch.cli.frame.hints import hint_for
from polyarch.errors import InputError

__all__ = ["open_display"]

_MODES = ("auto", "none", "plain", "quiet", "rawjson", "tty")


def open_display(
    mode: str,
    *,
    stream: TextIO,
    environ: Mapping[str, str],
    caption: Caption | None = None,
    debug: bool = False,
    clock: Callable[[], float] = time.time,
) -> Display:
    """Return a display of `mode` ("" is auto) on `stream`: a sink, to be used in a `with`.

    It ends with the `with`, or earlier by `finish`. A thread runs in mode tty only, between the first
    event and the end; so fork before the first event. Raises InputError for a mode that doesn't exist,
    or for tty without a terminal.
    """
    settings = Settings(environ=environ, clock=clock, caption=caption, debug=debug)
    terminal = Terminal(stream)
    match mode:
        case "" | "auto" if terminal.is_tty:
            return _tty(settings, terminal)
        case "" | "auto" | "plain":
            return PlainDisplay(settings, terminal)
        case "tty" if terminal.is_tty:
            return _tty(settings, terminal)
        case "tty":
            raise InputError(
                "failed to get console: provided file is not a console",
                hint="use --progress=plain where there is no terminal",
            )
        case "rawjson":
            # Neither json nor base64 is paid for by the other modes.
            from polyarch.cli.display.rawjson import RawJsonDisplay  # noqa: PLC0415

            return RawJsonDisplay(settings, terminal)
        case "quiet" | "none":
            return Display(settings)
        case _:
            raise InputError(f"invalid progress mode {mode}", hint=hint_for(mode, _MODES))


def _tty(settings: Settings, terminal: Terminal) -> Display:
    # Not paid for by builds in a pipe.
    from polyarch.cli.display.tty import TtyDisplay  # noqa: PLC0415

    return TtyDisplay(settings, terminal)
