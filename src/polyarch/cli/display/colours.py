"""The colours of the terminal display: four roles, set by the user's environment.

`BUILDKIT_COLORS=run=light-blue:cancel=1,2,3:error=red` sets roles by name or by red, green and blue; what
doesn't parse is passed over. `NO_COLOR` that isn't empty takes them all away.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.record import frozen, replace

__all__ = ["RESET", "Colours", "colours"]

RESET = "\x1b[0m"

_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_CODES = (
    {"default": "39"}
    | {name: str(30 + number) for number, name in enumerate(_NAMES)}
    | {f"light-{name}": str(90 + number) for number, name in enumerate(_NAMES)}
)


@frozen
class Colours:
    """The sequences that begin a colour, "" for none."""

    run: str = "\x1b[34m"
    cancel: str = "\x1b[33m"
    error: str = "\x1b[31m"
    warning: str = "\x1b[33m"


def colours(environ: Mapping[str, str]) -> Colours:
    """Read the user's colours."""
    if environ.get("NO_COLOR"):
        return Colours(run="", cancel="", error="", warning="")
    chosen = Colours()
    try:
        fields = csv_fields(environ.get("BUILDKIT_COLORS", ""), comma=":")
    except InputError:
        return chosen
    for field in fields:
        role, _, value = field.partition("=")
        sequence = _sequence(value)
        if sequence is None:
            continue
        match role.lower():
            case "run":
                chosen = replace(chosen, run=sequence)
            case "cancel":
                chosen = replace(chosen, cancel=sequence)
            case "error":
                chosen = replace(chosen, error=sequence)
            case "warning":
                chosen = replace(chosen, warning=sequence)
            case _:
                pass
    return chosen


def _sequence(value: str) -> str | None:
    code = _CODES.get(value.lower())
    if code is not None:
        return f"\x1b[{code}m"
    parts = value.split(",")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    red, green, blue = map(int, parts)
    if max(red, green, blue) > 255:
        return None
    # The 6 x 6 x 6 cube of the 256 colours, which every terminal knows.
    return f"\x1b[38;5;{16 + 36 * (red // 43) + 6 * (green // 43) + blue // 43}m"
