"""Filters of records: `type==regular,description~=apt` -> a question, as policies and commands ask it.

What is only true or false (`inuse`, `shared`, ...) is asked by its name alone, or takes a truth value.

Source: BuildKit's `cache.adaptUsageInfo`, and containerd's filters, in which it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from polyarch.errors import InputError
from polyarch.golang.strconv import parse_bool, quote
from polyarch.pattern import pattern
from polyarch.store.usage import Usage

__all__ = ["FIELDS", "Condition", "condition", "parse_filter"]

Condition = Callable[[Usage], bool]

_TEXTS: dict[str, Callable[[Usage], str]] = {
    "id": lambda entry: entry.record.id,
    "parents": lambda entry: ";".join(entry.record.parents),
    "description": lambda entry: entry.record.description,
    "type": lambda entry: entry.record.type.value,
}
_TRUTHS: dict[str, Condition] = {
    "inuse": lambda entry: entry.in_use,
    "mutable": lambda entry: entry.mutable,
    "immutable": lambda entry: not entry.mutable,
    "shared": lambda entry: entry.shared,
    "private": lambda entry: not entry.shared,
}
FIELDS = (*_TEXTS, *_TRUTHS)
_PART = pattern(
    r"\s*([a-z]+)\s*(?:(==|!=|~=)\s*"
    r'("(?:[^"\\]|\\.)*"|/(?:[^/\\]|\\.)*/|\|(?:[^|\\]|\\.)*\||[^,]*))?(?:,|\Z)'
)


def parse_filter(text: str) -> Condition:
    """Read a filter in containerd's form; all of its parts must be met. Raises InputError."""
    conditions = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            raise InputError(
                f"{quote(text)} isn't a filter of records",
                hint="write field==value, field!=value or field~=pattern, with commas between",
            )
        name, operator, value = found.groups(default="")
        is_pattern = operator == "~="
        value = _unquoted(value, is_pattern=is_pattern)
        conditions.append(condition(name, operator.removesuffix("="), value))
        at = found.end()
    return lambda entry: all(each(entry) for each in conditions)


def _unquoted(value: str, *, is_pattern: bool) -> str:
    """Take quotes away: patterns may stand between slashes or bars, too, and keep their backslashes there."""
    value = value.strip()
    if value.startswith('"'):
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    if is_pattern and len(value) > 1 and value[0] in "/|" and value[-1] == value[0]:
        return value[1:-1].replace(f"\\{value[0]}", value[0])
    return value


def condition(name: str, operator: str, value: str) -> Condition:
    """Return the question whether a field has a value; `operator` is `=` (or ""), `!` or `~`. Raises InputError."""
    if name in _TRUTHS:
        return _truth(name, operator, value)
    if name not in _TEXTS:
        raise InputError(f"unknown filter {quote(name)}", hint=f"filters are {', '.join(FIELDS)}")
    get = _TEXTS[name]
    if operator == "~":
        return _pattern(get, value)
    if operator == "!":
        return lambda entry: get(entry) != value
    return lambda entry: get(entry) == value


def _truth(name: str, operator: str, value: str) -> Condition:
    get = _TRUTHS[name]
    if operator == "~":
        raise InputError(f"the filter {name} is true or false", hint=f"write {name}=true")
    try:
        wanted = parse_bool(value or "true") != (operator == "!")
    except InputError as error:
        raise InputError(f"the filter {name} is true or false, not {quote(value)}") from error
    return lambda entry: get(entry) is wanted


def _pattern(get: Callable[[Usage], str], value: str) -> Condition:
    try:
        found = re.compile(value)
    except re.error as error:
        raise InputError(f"{quote(value)} is no regular expression: {error}") from error
    return lambda entry: found.search(get(entry)) is not None
