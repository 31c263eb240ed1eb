"""The warnings of a build, repeated where they are seen: at its end."""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.progress import WarningEvent
from polyarch.text.shown import shown

__all__ = ["summary"]

_YELLOW, _RESET = "\x1b[33m", "\x1b[0m"


def summary(warnings: Sequence[WarningEvent], *, debug: bool, colour: bool) -> str:
    """List warnings, with their details if `debug`; "" if there are none."""
    if not warnings:
        return ""
    title = "1 warning found" if len(warnings) == 1 else f"{len(warnings)} warnings found"
    title += ":\n" if debug else " (use --debug to expand):\n"
    out = "\n " + (f"{_YELLOW}{title}{_RESET}" if colour else title)
    for warning in warnings:
        out += f" - {shown(warning.short)}\n"
        if debug:
            out += _details(warning) + "\n"
    return out


def _details(warning: WarningEvent) -> str:
    out = "".join(f"{line}\n" for line in warning.detail)
    if warning.url:
        out += f"More info: {warning.url}\n"
    return shown(out + warning.excerpt)
