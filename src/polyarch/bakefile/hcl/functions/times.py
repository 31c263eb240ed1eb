"""Functions of points in time. Source: behaviour of go-cty's `function/stdlib` and of buildx's own ones."""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.types import NUMBER, STRING
from polyarch.bakefile.hcl.values import Value, integer, object_value, string
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.golang.time import parse_duration
from polyarch.pattern import pattern

__all__ = ["TIMES"]

_RFC3339 = pattern(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:(Z)|([+-])(\d\d):(\d\d))\Z"
)
_PIECE = pattern(r"'(?:[^']|'')*'?|([a-zA-Z])\1*|[^a-zA-Z']+")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")  # fmt: skip
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_INVALID = "not a valid RFC3339 timestamp"


def _parse(text: str) -> datetime:
    match = _RFC3339.match(text)
    if match is None:
        if len(text) > 10 and text[10] != "T":
            raise ValueError(f"{_INVALID}: missing required time introducer 'T'")
        raise ValueError(f"{_INVALID}: cannot use {quote(text)} as timestamp segment")
    year, month, day, hour, minute, second = (int(each) for each in match.groups()[:6])
    zone = UTC
    try:
        if match[9]:
            offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
            zone = timezone(-offset if match[9] == "-" else offset)
        return datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError as error:
        raise ValueError(f"{_INVALID}: {error}") from None


def _offset(moment: datetime, colon: str) -> str:
    minutes = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}{colon}{abs(minutes) % 60:02d}"


def _rfc3339(moment: datetime) -> str:
    zone = _offset(moment, ":") if moment.utcoffset() else "Z"
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}{zone}"


def _verbs(moment: datetime) -> Mapping[str, Mapping[int, str]]:
    half = moment.hour % 12 or 12
    weekday = _DAYS[(moment.weekday() + 1) % 7]
    month = _MONTHS[moment.month - 1]
    noon = "PM" if moment.hour >= 12 else "AM"
    plain = _offset(moment, "")

    def both(number: int) -> Mapping[int, str]:
        return {1: str(number), 2: f"{number:02d}"}

    return {
        "Y": {2: f"{moment.year % 100:02d}", 4: f"{moment.year:04d}"},
        "M": {**both(moment.month), 3: month[:3], 4: month},
        "D": both(moment.day),
        "E": {3: weekday[:3], 4: weekday},
        "h": both(moment.hour),
        "H": both(half),
        "A": {2: noon},
        "a": {2: noon.lower()},
        "m": both(moment.minute),
        "s": both(moment.second),
        "Z": {
            1: _offset(moment, ":") if moment.utcoffset() else "Z",
            3: "UTC" if plain == "+0000" else plain,
            4: plain,
            5: _offset(moment, ":"),
        },
    }


_COMPLAINTS = {
    "Y": 'year must either be "YY" or "YYYY"',
    "M": 'month must be "M", "MM", "MMM", or "MMMM"',
    "D": 'day of month must either be "D" or "DD"',
    "E": 'day of week must either be "EEE" or "EEEE"',
    "h": '24-hour must either be "h" or "hh"',
    "H": '12-hour must either be "H" or "HH"',
    "A": 'must be "AA"',
    "a": 'must be "aa"',
    "m": 'minute must either be "m" or "mm"',
    "s": 'second must either be "s" or "ss"',
    "Z": "timezone must be Z, ZZZZ, or ZZZZZ",
}


def _formatted(layout: str, moment: datetime) -> str:
    verbs = _verbs(moment)
    parts: list[str] = []
    for match in _PIECE.finditer(layout):
        piece, letter = match.group(), match[1]
        if piece.startswith("'"):
            if len(piece) == 1 or not piece.endswith("'"):
                raise ArgumentError(0, "unterminated literal '")
            parts.append(piece[1:-1].replace("''", "'") if len(piece) > 2 else "'")
        elif letter is None:
            parts.append(piece)
        else:
            found = verbs.get(letter, {}).get(len(piece))
            if found is None:
                why = f": {_COMPLAINTS[letter]}" if letter in _COMPLAINTS else ""
                raise ArgumentError(0, f"invalid date format verb {quote(piece)}{why}")
            parts.append(found)
    return "".join(parts)


def _format_date(layout: Value, moment: Value) -> Value:
    try:
        parsed = _parse(moment.raw)
    except ValueError as error:
        raise ArgumentError(1, str(error)) from None
    return string(_formatted(layout.raw, parsed))


def _format_timestamp(layout: Value, moment: Value) -> Value:
    if moment.type == STRING:
        if layout.raw != "X":
            return _format_date(layout, moment)
        try:
            parsed = _parse(moment.raw)
        except ValueError:
            raise ArgumentError(1, "timestamp string must be RFC3339") from None
        return string(str(timegm(parsed.utctimetuple())))
    if moment.type == NUMBER:
        try:
            found = _from_unix(moment)
        except FunctionError as error:
            raise ArgumentError(1, str(error)) from None
        if layout.raw == "X":
            return string(str(int(moment.raw.value)))
        return string(_formatted(layout.raw, found))
    raise ArgumentError(1, "must be a string timestamp or a unix timestamp number")


def _from_unix(moment: Value) -> datetime:
    if not moment.raw.is_integer:
        raise FunctionError("unix timestamp must be an integer")
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(moment.raw.value))
    except OverflowError:
        raise FunctionError("unix timestamp is out of range") from None


def _unix_parse(moment: Value) -> Value:
    try:
        found = _from_unix(moment)
    except FunctionError as error:
        raise ArgumentError(0, str(error)) from None
    week = found.isocalendar()
    numbers = {
        "year": found.year,
        "year_day": found.timetuple().tm_yday,
        "day": found.day,
        "month": found.month,
        "weekday": (found.weekday() + 1) % 7,
        "hour": found.hour,
        "minute": found.minute,
        "second": found.second,
        "iso_year": week.year,
        "iso_week": week.week,
    }
    texts = {
        "month_name": _MONTHS[found.month - 1],
        "weekday_name": _DAYS[(found.weekday() + 1) % 7],
        "rfc3339": _rfc3339(found),
    }
    return object_value(
        {
            **{name: integer(each) for name, each in numbers.items()},
            **{name: string(each) for name, each in texts.items()},
        }
    )


def _time_add(moment: Value, duration: Value) -> Value:
    try:
        found = _parse(moment.raw)
        delta = timedelta(microseconds=parse_duration(duration.raw) / 1000)
        return string(_rfc3339(found + delta))
    except (ValueError, OverflowError, InputError) as error:
        raise FunctionError(str(error)) from None


def _timestamp() -> Value:
    return string(_rfc3339(datetime.fromtimestamp(int(time.time()), tz=UTC)))


TIMES: Mapping[str, Function] = {
    "formatdate": function(_format_date, Parameter("format", STRING), Parameter("time", STRING)),
    "formattimestamp": function(_format_timestamp, Parameter("format", STRING), Parameter("time")),
    "timeadd": function(_time_add, Parameter("timestamp", STRING), Parameter("duration", STRING)),
    "timestamp": function(_timestamp),
    "unixtimestampparse": function(_unix_parse, Parameter("unix_timestamp", NUMBER)),
}
