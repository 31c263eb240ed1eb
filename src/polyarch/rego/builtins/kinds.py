"""Times, units, versions and identifiers."""

from __future__ import annotations

import calendar
import re
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from polyarch.errors import InputError
from polyarch.golang.time import find_time, parse_duration, time_of
from polyarch.pattern import pattern
from polyarch.rego.builtins.given import Table, a_text, an_integer
from polyarch.rego.undefined import Unfit

__all__ = ["KINDS"]

_SECOND = 10**9
_VERSION = pattern(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
_UNIT = pattern(r"\"?([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)\"?")
_BINARY = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18,
           "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40, "pi": 1 << 50, "ei": 1 << 60}  # fmt: skip
_MILLI = Fraction(1, 1000)


# --- times ---


def _moment(given: object) -> tuple[datetime, int]:
    """Return a point in time, in its zone, and the nanoseconds of its second."""
    nanoseconds, zone = given if isinstance(given, tuple) and len(given) == 2 else (given, "UTC")
    count, name = an_integer(nanoseconds), a_text(zone)
    try:
        place = UTC if name in {"", "UTC"} else ZoneInfo(name)
        seconds, rest = divmod(count, _SECOND)
        return datetime.fromtimestamp(seconds, place), rest
    except (ZoneInfoNotFoundError, OverflowError, OSError, ValueError):
        raise Unfit from None


def _parsed(text: object) -> object:
    found = find_time(a_text(text))
    if found is None:
        raise Unfit
    clock, _, fraction = found.clock.partition(".")
    try:
        moment = datetime.fromisoformat(f"{found.day}T{clock}{found.zone.replace('Z', '+00:00')}")
    except ValueError:
        raise Unfit from None
    return int(moment.timestamp()) * _SECOND + int(fraction.ljust(9, "0") or 0)


def _duration(text: object) -> object:
    try:
        return parse_duration(a_text(text))
    except InputError:
        raise Unfit from None


def _format(given: object) -> object:
    moment, rest = _moment(given)
    offset = moment.utcoffset() or timedelta()
    local = calendar.timegm(moment.timetuple()) * _SECOND + rest
    text = time_of(local, per_second=_SECOND).rfc3339()
    minutes = int(offset.total_seconds()) // 60
    zone = (
        "Z"
        if not minutes
        else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    )
    return text.removesuffix("Z") + zone


def _date(given: object) -> object:
    moment, _ = _moment(given)
    return moment.year, moment.month, moment.day


def _clock(given: object) -> object:
    moment, _ = _moment(given)
    return moment.hour, moment.minute, moment.second


def _added(given: object, years: object, months: object, days: object) -> object:
    moment, rest = _moment(given)
    count = moment.year * 12 + moment.month - 1 + an_integer(years) * 12 + an_integer(months)
    try:
        # As Go does: a day that the month doesn't have is one of the next month.
        begin = date(count // 12, count % 12 + 1, 1) + timedelta(
            days=moment.day - 1 + an_integer(days)
        )
        made = datetime.combine(begin, moment.timetz())
    except (ValueError, OverflowError):
        raise Unfit from None
    return int(made.timestamp()) * _SECOND + rest


def _difference(one: object, other: object) -> object:
    """Return years, months, days, hours, minutes and seconds between two times."""
    (first, rest), (second, less) = _moment(one), _moment(other)
    second = second.astimezone(first.tzinfo)
    earlier, later = (first, second) if (first, rest) < (second, less) else (second, first)
    parts = [
        later_part - part
        for later_part, part in zip(later.timetuple()[:6], earlier.timetuple()[:6], strict=True)
    ]
    # From the seconds up, whatever is negative borrows from the next; days from the month that they begin in.
    days = calendar.monthrange(earlier.year, earlier.month)[1]
    for place, size in ((5, 60), (4, 60), (3, 24), (2, days), (1, 12)):
        if parts[place] < 0:
            parts[place] += size
            parts[place - 1] -= 1
    return tuple(parts)


# --- units ---


def _unit(text: object, *, is_bytes: bool) -> object:
    match = _UNIT.fullmatch(a_text(text))
    if match is None or len(match[1]) > 400:
        raise Unfit
    unit = match[2]
    if is_bytes:
        unit = unit.lower().removesuffix("b")
    elif unit == "m":
        return _plain(Fraction(match[1]) * _MILLI)
    else:
        unit = unit.lower()
    if unit not in _BINARY:
        raise Unfit
    value = Fraction(match[1]) * _BINARY[unit]
    return int(value) if is_bytes else _plain(value)


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


# --- versions and identifiers ---


def _version(text: object) -> re.Match[str]:
    match = _VERSION.fullmatch(a_text(text))
    if match is None or len(match.group()) > 400:
        raise Unfit
    return match


def _is_version(text: object) -> object:
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def _order(match: re.Match[str]) -> tuple[object, ...]:
    numbers = tuple(int(each) for each in match.group(1, 2, 3))
    if match[4] is None:
        return (numbers, 1, ())
    parts = tuple(
        (0, int(each), "") if each.isdecimal() else (1, 0, each) for each in match[4].split(".")
    )
    return (numbers, 0, parts)


def _compare(one: object, other: object) -> object:
    first, second = _order(_version(one)), _order(_version(other))
    return (first > second) - (first < second)


_NAMESPACE = uuid.uuid4()


KINDS: Table = {
    "time.now_ns": (0, time.time_ns),
    "time.parse_rfc3339_ns": (1, _parsed),
    "time.parse_duration_ns": (1, _duration),
    "time.format": (1, _format),
    "time.date": (1, _date),
    "time.clock": (1, _clock),
    "time.weekday": (1, lambda given: _moment(given)[0].strftime("%A")),
    "time.add_date": (4, _added),
    "time.diff": (2, _difference),
    "units.parse": (1, lambda text: _unit(text, is_bytes=False)),
    "units.parse_bytes": (1, lambda text: _unit(text, is_bytes=True)),
    "semver.is_valid": (1, _is_version),
    "semver.compare": (2, _compare),
    # One for each text, for as long as the program runs.
    "uuid.rfc4122": (1, lambda text: str(uuid.uuid5(_NAMESPACE, a_text(text)))),
}
