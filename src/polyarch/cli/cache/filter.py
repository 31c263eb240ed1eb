"""`--filter` of `du` and `prune`: texts like `type=regular`, `id!=x`, `description~=apt` -> a question.

Several filters must all be met. What is only true or false (`inuse`, `shared`, ...) takes a truth value.
`until` and its older name `unused-for` are a duration, which each command understands in its own way.

Source: behaviour of docker buildx, whose filters go through docker's and containerd's parsers.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.golang.time import parse_duration
from polyarch.record import frozen
from polyarch.store.recordfilter import FIELDS, Condition, condition
from polyarch.store.usage import Usage

__all__ = ["CacheFilter", "parse_filters"]

_AGES = ("until", "unused-for")


@frozen
class CacheFilter:
    """What records are asked for; `seconds` since their last use, 0 if that wasn't asked."""

    conditions: tuple[Condition, ...] = ()
    seconds: float = 0.0

    def __bool__(self) -> bool:
        """Whether anything is asked for at all."""
        return bool(self.conditions or self.seconds)

    def matches(self, entry: Usage) -> bool:
        """Whether a record meets all conditions, age aside."""
        return all(condition(entry) for condition in self.conditions)


def parse_filters(texts: Sequence[str]) -> CacheFilter:
    """Read the values of `--filter`. Raises InputError."""
    conditions = []
    ages: dict[str, str] = {}
    seen: dict[str, str] = {}
    for text in filter(None, texts):
        key, _, value = text.partition("=")
        key, value = key.strip().lower(), value.strip()
        if seen.setdefault(key, value) != value:
            raise InputError("filters expect only one value")
        if key in _AGES:
            ages[key] = value
        else:
            conditions.append(_condition(key, value))
    return CacheFilter(conditions=tuple(conditions), seconds=_seconds(ages))


def _seconds(ages: dict[str, str]) -> float:
    if len(ages) > 1:
        raise InputError('conflicting filters "until" and "unused-for"')
    for key, value in ages.items():
        try:
            return parse_duration(value) / 1e9
        except InputError as error:
            raise InputError(
                f"{quote(key)} filter expects a duration (e.g., '24h'): {error}"
            ) from error
    return 0.0


def _condition(key: str, value: str) -> Condition:
    name = key.rstrip("!~")
    operator = key[len(name) :]
    if name not in FIELDS or operator not in {"", "!", "~"}:
        known = ", ".join((*FIELDS, *_AGES))
        raise InputError(f"unknown filter {quote(key)}", hint=f"filters are {known}")
    if name == "id" and not operator:
        # People copy the first letters of an id.
        return lambda entry: entry.record.id.startswith(value)
    return condition(name, operator, value)
