"""`--filter` of `history ls`: `ref=…`, `repository!=…`, `status=error`, `startedAt>2h`, `duration<=1m`.

Source: buildx's `commands/history/utils.go`.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Callable, Sequence

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.golang.time import find_time, parse_duration
from polyarch.history.naming import repository_of
from polyarch.history.record import BuildRecord, State

__all__ = ["parse_filters"]

Question = Callable[[BuildRecord], bool]

# buildx looks for "=" before "<=", so that it refuses the latter, which its documentation has.
_SEPARATORS = ("!=", "<=", ">=", "=", "<", ">")
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    "<": lambda value, limit: value < limit,
}
_STATUS = {State.FAILED: "error"}
_TEXTS: dict[str, Callable[[BuildRecord], str]] = {
    "ref": lambda record: record.ref,
    "repository": repository_of,
    "status": lambda record: _STATUS.get(record.status, record.status.value),
}
_TIMES: dict[str, Callable[[BuildRecord], float]] = {
    "startedAt": lambda record: int(record.created),
    "completedAt": lambda record: int(record.completed or 0),
    "duration": lambda record: record.seconds(record.created),
}


def parse_filters(texts: Sequence[str]) -> Question:
    """Return a question that records have to meet, all of it. Raises InputError in buildx's words."""
    questions = [_question(text) for text in texts]
    return lambda record: all(question(record) for question in questions)


def _question(text: str) -> Question:
    separator = next((each for each in _SEPARATORS if each in text), "")
    if not separator:
        raise InputError(f"invalid filter {quote(text)}", hint="write status=error, or duration>1m")
    key, _, value = text.partition(separator)
    if key in _TEXTS:
        if separator not in {"=", "!="}:
            raise InputError(f"invalid separator for {quote(text)}, expected = or !=")
        return _text_question(key, separator, value)
    if key in _TIMES:
        if separator in {"=", "!="}:
            raise InputError(f"invalid separator for {quote(text)}, expected <=, <, >= or >")
        return _time_question(key, separator, value)
    raise InputError(
        f"unsupported filter {quote(text)}",
        hint=f"there are {', '.join((*_TEXTS, *_TIMES))}",
    )


def _text_question(key: str, separator: str, value: str) -> Question:
    text_of = _TEXTS[key]
    if separator == "!=":
        return lambda record: text_of(record) != value
    if key == "status":
        return lambda record: text_of(record) == value
    return lambda record: value in text_of(record)


def _time_question(key: str, separator: str, value: str) -> Question:
    number_of, compared = _TIMES[key], _COMPARED[separator]
    limit = _duration(value) if key == "duration" else _moment(value)
    return lambda record: compared(number_of(record), limit)


def _duration(text: str) -> float:
    try:
        return parse_duration(text) / 1e9
    except InputError as error:
        raise InputError(f"invalid duration {text}", hint="write 90s or 2m30s") from error


def _moment(text: str) -> float:
    """Return a time in seconds since the epoch: so long ago, or by RFC 3339."""
    try:
        return int(time.time() - parse_duration(text) / 1e9)
    except InputError as error:
        moment = find_time(text)
        if moment is None:
            raise InputError(
                f"invalid time {text}", hint="write 2h for two hours ago, or 2026-01-31T12:00:00Z"
            ) from error
    clock = time.strptime(f"{moment.day} {moment.clock.partition('.')[0]}", "%Y-%m-%d %H:%M:%S")
    offset = 0
    if moment.zone != "Z":
        hours, minutes = map(int, moment.zone[1:].split(":"))
        offset = (hours * 60 + minutes) * (-60 if moment.zone[0] == "-" else 60)
    return timegm(clock) - offset
