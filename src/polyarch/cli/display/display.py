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

from polyarch.cli.display.base import Caption, Display, Settings, Terminal, TerminalDisplay
from polyarch.errors import InputError
from polyarch.late import load
from polyarch.text.nearest import hint_for

__all__ = ["check_mode", "open_display"]

_MODES = ("auto", "none", "plain", "quiet", "rawjson", "tty")
# rich is for terminals, json and base64 for programs: 5 ms that others need not pay.
_SHOWN = {
    "plain": "cli.display.plain:PlainDisplay",
    "rawjson": "cli.display.rawjson:RawJsonDisplay",
    "tty": "cli.display.tty:TtyDisplay",
}


def check_mode(mode: str) -> None:
    """Raise InputError for a mode that doesn't exist."""
    if mode not in {"", *_MODES}:
        raise InputError(f"invalid progress mode {mode}", hint=hint_for(mode, _MODES))


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
    if mode in {"", "auto"}:
        mode = "tty" if terminal.is_tty else "plain"
    if mode in {"quiet", "none"}:
        return Display(settings)
    check_mode(mode)
    if mode == "tty" and not terminal.is_tty:
        raise InputError(
            "failed to get console: provided file is not a console",
            hint="use --progress=plain where there is no terminal",
        )
    kind = load(_SHOWN[mode])
    assert isinstance(kind, type)
    assert issubclass(kind, TerminalDisplay)
    return kind(settings, terminal)
