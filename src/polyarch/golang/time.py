"""Go's `time`: durations and points in time, as they are read and printed.

Source: the documentation of Go's package time.
"""

from __future__ import annotations

import re
import time

from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["Time", "duration_text", "find_time", "parse_duration", "time_of"]

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_SECOND = 1_000_000_000
_LIMIT = 1 << 63
"""How many nanoseconds a duration may have if it is negative."""
_NUMBER = "0123456789."
_RFC3339 = pattern(
    r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))T((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)"
    r"(?:[.,](\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)",
    re.ASCII,
)


# --- durations ---


def _count(digits: str) -> int:
    # Python refuses to convert thousands of digits; those of more than twenty are out of range.
    return int(digits or "0") if len(digits.lstrip("0")) <= 20 else _LIMIT + 1


def _size(unit: str, text: str) -> int:
    """Return the nanoseconds of a unit of the duration `text`. Raises InputError."""
    if not unit:
        raise InputError(f"time: missing unit in duration {_quoted(text)}")
    if unit not in _UNITS:
        raise InputError(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
    return _UNITS[unit]


def parse_duration(text: str) -> int:
    """Read a duration like `1h2m3.5s` and return nanoseconds.

    Raises InputError in the words of `time.ParseDuration`.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0
    invalid = InputError(f"time: invalid duration {_quoted(text)}")
    if not rest:
        raise invalid
    total = 0
    while rest:
        whole, fraction, unit, rest = _part(rest)
        count = _count(whole)
        if not (whole or fraction) or count > _LIMIT:
            raise invalid
        size = _size(unit, text)
        total += count * size + _share(fraction, size)
        if total > _LIMIT:
            raise invalid
    if sign * total >= _LIMIT:
        raise invalid
    return sign * total


def _part(text: str) -> tuple[str, str, str, str]:
    """Cut off a number and its unit: the digits, those behind the point, the unit, and the rest."""
    whole, rest = _digits(text)
    fraction, rest = _digits(rest[1:]) if rest.startswith(".") else ("", rest)
    end = next((at for at, char in enumerate(rest) if char in _NUMBER), len(rest))
    return whole, fraction, rest[:end], rest[end:]


def _digits(text: str) -> tuple[str, str]:
    rest = text.lstrip(_NUMBER[:10])
    return text[: len(text) - len(rest)], rest


def _share(fraction: str, unit: int) -> int:
    """Return so many parts of a unit, in nanoseconds, counted in floats as Go does."""
    value, scale = 0, 1.0
    for digit in fraction:
        longer = value * 10 + int(digit)
        if longer > _LIMIT:
            break
        value, scale = longer, scale * 10
    return int(value * (unit / scale))


def _quoted(text: str) -> str:
    """Quote a text as this package of Go's does: whatever isn't ASCII is shown as bytes."""
    out = ""
    for byte in text.encode("utf-8", "surrogateescape"):
        char = chr(byte)
        if byte < 0x20 or byte >= 0x80:
            out += f"\\x{byte:02x}"
        else:
            out += "\\" + char if char in '"\\' else char
    return f'"{out}"'


def duration_text(nanoseconds: int) -> str:
    """Write a duration as Duration.String does: 1m30s, 1.5s, 250ms, 0s."""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 0:
        return "-" + duration_text(-nanoseconds)
    if nanoseconds < _SECOND:
        name = "ms" if nanoseconds >= 1_000_000 else "µs" if nanoseconds >= 1_000 else "ns"
        return _decimal(nanoseconds, _UNITS[name]) + name
    out, rest = "", nanoseconds
    for name in ("h", "m"):
        if nanoseconds >= _UNITS[name]:
            out += f"{rest // _UNITS[name]}{name}"
            rest %= _UNITS[name]
    return out + _decimal(rest, _SECOND) + "s"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0")


# --- points in time ---


@frozen
class Time:
    """A point in time, in the parts in which it is written.

    `day` is `2006-01-02`; `clock` is `15:04:05` with as many decimals as it needs, nine at most; `zone` is
    `Z` or `+01:00`.
    """

    day: str
    clock: str
    zone: str

    def __str__(self) -> str:
        """Write it as Time.String does: `2006-01-02 15:04:05.678 +0000 UTC`."""
        offset = "+0000" if self.zone == "Z" else self.zone.replace(":", "")
        return f"{self.day} {self.clock} {offset} {'UTC' if self.zone == 'Z' else offset}"

    def rfc3339(self) -> str:
        """Write it in the layout RFC3339Nano, as JSON has it: `2006-01-02T15:04:05.678Z`."""
        return f"{self.day}T{self.clock}{self.zone}"


def find_time(text: str) -> Time | None:
    """Read a time as time.Parse does by RFC 3339; None if it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups(default="")
    fraction = fraction.rstrip("0")
    return Time(
        day=day,
        clock=f"{clock}.{fraction}" if fraction else clock,
        zone="Z" if zone in {"+00:00", "-00:00"} else zone,
    )


def time_of(count: float, *, per_second: int = 1) -> Time:
    """Return the time of so many seconds, or parts of one, since 1970, in UTC, to the nanosecond."""
    # A float times 10^9 isn't exact: whole seconds would get a part, or a negative one.
    numerator, denominator = count.as_integer_ratio()
    second, nanosecond = divmod(numerator * _SECOND // (denominator * per_second), _SECOND)
    moment = time.gmtime(second)
    clock = f"{time.strftime('%H:%M:%S', moment)}.{nanosecond:09d}".rstrip("0").rstrip(".")
    # Not by strftime, which leaves out zeros before a year.
    day = f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}"
    return Time(day=day, clock=clock, zone="Z")
