"""What functions are given, checked: whatever doesn't fit makes their result undefined."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from polyarch.rego.undefined import Unfit
from polyarch.rego.values import Obj, SetOf

__all__ = [
    "Table",
    "a_collection",
    "a_number",
    "a_text",
    "an_array",
    "an_integer",
    "an_object",
    "members",
    "texts",
    "written",
]

Table = Mapping[str, tuple[int, Callable[..., object]]]
"""Functions by name, with the number of their arguments. What they raise is Unfit alone."""


def a_text(value: object) -> str:
    """Return a text. Raises Unfit."""
    if isinstance(value, str):
        return value
    raise Unfit


def a_number(value: object) -> int | float:
    """Return a number. Raises Unfit."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise Unfit


def an_integer(value: object) -> int:
    """Return a whole number. Raises Unfit."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Unfit


def an_array(value: object) -> tuple[object, ...]:
    """Return an array. Raises Unfit."""
    if isinstance(value, tuple):
        return value
    raise Unfit


def an_object(value: object) -> Obj:
    """Return an object. Raises Unfit."""
    if isinstance(value, Obj):
        return value
    raise Unfit


def a_collection(value: object) -> tuple[object, ...] | SetOf | Obj:
    """Return an array, a set or an object. Raises Unfit."""
    if isinstance(value, tuple | SetOf | Obj):
        return value
    raise Unfit


def members(value: object) -> tuple[object, ...]:
    """Return what is in an array or a set. Raises Unfit."""
    if isinstance(value, tuple | SetOf):
        return tuple(value)
    raise Unfit


def texts(value: object) -> list[str]:
    """Return the texts of an array or a set. Raises Unfit."""
    return [a_text(each) for each in members(value)]


def written(value: object) -> str:
    """Write a value as Rego has it."""
    if isinstance(value, Obj):
        return (
            "{" + ", ".join(f"{written(key)}: {written(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, SetOf):
        return "{" + ", ".join(map(written, value)) + "}" if len(value) else "set()"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
