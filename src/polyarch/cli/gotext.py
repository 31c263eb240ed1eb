"""Texts read and written as Go's `strconv` does, where users see or type them.

Flags of docker are parsed by Go programs; their scripts rely on what those accept ("T" is true,
"1_000" is no number) and search logs for the messages. Source: documentation of Go's package strconv.
"""

from __future__ import annotations

import re

from polyarch.errors import InputError

__all__ = ["parse_bool", "parse_float", "parse_int", "quote"]

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
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


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


def quote(text: str) -> str:
    """Write `text` as a Go string literal in double quotes; what can't be printed is escaped.

    Bytes that weren't UTF-8 (surrogate escapes in Python) become `\\xNN`.
    """
    return '"' + "".join(_quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _failure(function: str, text: str, reason: str = "invalid syntax") -> InputError:
    return InputError(f"strconv.{function}: parsing {quote(text)}: {reason}")
