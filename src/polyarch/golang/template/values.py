"""Values within templates, and how Go prints them.

Data is what JSON knows. `MISSING` stands for a key that a map doesn't have: unlike null, asking it for
further keys is no error. Source: documentation of Go's fmt and text/template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum

__all__ = [
    "MISSING",
    "GoValue",
    "Missing",
    "Value",
    "float_text",
    "go_text",
    "is_list",
    "is_true",
    "to_json",
    "type_name",
]


_LARGE = 1e21
"""Floats from here on are written with an exponent in Go's JSON."""


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"


MISSING = Missing.MISSING


class GoValue:
    """A value that isn't what JSON knows: it says itself what Go calls it and how it is written."""

    type_name = ""
    is_struct = False
    is_nil = False

    def go_text(self) -> str:
        """Write it as %v does."""
        raise NotImplementedError

    def to_json(self) -> object:
        """Return what the json module knows of it."""
        raise NotImplementedError


Value = (
    str | int | float | bool | Missing | GoValue | Sequence["Value"] | Mapping[str, "Value"] | None
)


def is_list(value: Value) -> bool:
    """Whether a value is a list; a text is none."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def is_true(value: Value) -> bool:
    """Whether `if` takes a value for true: what isn't zero or empty."""
    return value is not MISSING and bool(value)


def to_json(value: Value) -> object:
    """Return what the json module knows of a value; a nil slice, which is an empty tuple, is null."""
    if isinstance(value, GoValue):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if value == () or value is MISSING:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGE:
        return int(value)
    return value


def type_name(value: Value) -> str:
    """How Go calls the type of a value."""
    if isinstance(value, GoValue):
        return value.type_name
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "int", float: "float64"}
    for kind, name in names.items():
        if isinstance(value, kind):
            return name
    if isinstance(value, Mapping):
        return "map[string]interface {}"
    return "[]interface {}" if is_list(value) else "<nil>"


def go_text(value: Value) -> str:
    """Write a value as Go's %v does: `[a b]`, `map[k:v]`, `<nil>`; keys are sorted."""
    match value:
        case GoValue():
            return value.go_text()
        case str():
            return value
        case Mapping():
            items = (f"{key}:{go_text(value[key])}" for key in sorted(value))
            return "map[" + " ".join(items) + "]"
        case Sequence():
            return "[" + " ".join(map(go_text, value)) + "]"
        case _:
            return _scalar_text(value)


def _scalar_text(value: Value) -> str:
    match value:
        case None | Missing.MISSING:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return float_text(value)
        case _:
            return str(value)


def float_text(value: float) -> str:
    """Write a number with as few digits as tell it from all others, as `%v` does."""
    if not math.isfinite(value):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    shortest = f"{value!r}".removesuffix(".0")
    exponent = int((shortest if "e" in shortest else f"{value:.16e}").partition("e")[2])
    if value == 0 or -5 < exponent < 6:
        return shortest
    digits = shortest.partition("e")[0].replace(".", "").strip("-0")
    sign = "-" if value < 0 else ""
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{exponent:+03d}"
