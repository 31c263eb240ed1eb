"""Texts read as Go's `strconv` does, where users see or type them.

Flags of docker are parsed by Go programs; their scripts rely on what those accept ("T" is true,
"1_000" is no number) and search logs for the messages. Source: documentation of Go's package strconv.
"""

from __future__ import annotations

import re

from polyarch.errors import InputError
from polyarch.text.gofmt import quoted

__all__ = ["parse_bool", "parse_float", "parse_int"]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INT = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:_[0-9]+)*)(?:\.(?:[0-9]+(?:_[0-9]+)*)?)?|\.[0-9]+(?:_[0-9]+)*)"
    r"(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?\Z"
)
_HEXADECIMAL = re.compile(
    r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+\Z"
)
_SPECIAL = re.compile(r"(?:nan|[+-]?inf(?:inity)?)\Z", re.IGNORECASE)
_INT64 = range(-(1 << 63), 1 << 63)


def parse_bool(text: str) -> bool:
    """Read a truth value: 1, t, T, TRUE, true, True and their opposites. Raises InputError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _failure("ParseBool", text)


def parse_int(text: str) -> int:
    """Read a decimal number of 64 bits. Raises InputError, also when it is out of range."""
    if _INT.match(text) is None:
        raise _failure("ParseInt", text)
    number = int(text)
    if number not in _INT64:
        raise _failure("ParseInt", text, "value out of range")
    return number


def parse_float(text: str) -> float:
    """Read a number with or without a fraction, decimal or hexadecimal. Raises InputError."""
    if _SPECIAL.match(text) is not None:
        return float(text)
    if _HEXADECIMAL.match(text) is not None:
        return _in_range(text, hexadecimal=True)
    if _DECIMAL.match(text) is None:
        raise _failure("ParseFloat", text)
    return _in_range(text, hexadecimal=False)


def _in_range(text: str, *, hexadecimal: bool) -> float:
    try:
        number = float.fromhex(text) if hexadecimal else float(text)
    except OverflowError:
        number = float("inf")
    if number in {float("inf"), float("-inf")}:
        raise _failure("ParseFloat", text, "value out of range")
    return number


def _failure(function: str, text: str, reason: str = "invalid syntax") -> InputError:
    return InputError(f"strconv.{function}: parsing {quoted(text)}: {reason}")
