"""What Go's standard library does with text, as far as Dockerfiles and flags show it.

BuildKit is written in Go, so its idea of a blank, of a truth value, of a duration and of a quoted text is
Go's. Each function here is named after the one whose behaviour it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from polyarch.errors import InputError

__all__ = [
    "SPACE",
    "csv_fields",
    "is_space",
    "nearest",
    "parse_bool",
    "parse_duration",
    "parse_int",
    "parse_size",
    "parse_uint",
    "quote",
    "suggestion",
]

SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's white space, as `unicode.IsSpace` and `strings.TrimSpace` know it."""

_SPACES = frozenset(SPACE)
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_SHORT_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_INT64 = 2**63 - 1
_DURATION_PART = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)")
_SIZE = re.compile(r"(\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?) ?([a-zA-Z]*)")
_SIZE_UNITS = "kmgtp"
_NEAR = 3


def is_space(char: str) -> bool:
    """Tell if the character is white space."""
    return char in _SPACES


def quote(text: str) -> str:
    """Write a text as `%q` does: in double quotes, what can't be printed escaped."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quoted_char, text)) + '"'


def _quoted_char(char: str) -> str:
    if short := _SHORT_ESCAPES.get(char):
        return short
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_bool(text: str) -> bool | None:
    """Read a truth value (`1 t T TRUE true True 0 f F FALSE false False`); None if it is none."""
    return _BOOLS.get(text)


def _parse_digits(text: str, digits: str, base: int) -> int | None:
    if not text or text.strip(digits):
        return None
    # Python refuses to convert thousands of digits; none of those would fit 64 bits anyway.
    return int(text[-80:], base) if len(text.lstrip("0")) <= 64 else 2**64


def parse_uint(text: str, *, base: int, bits: int) -> int | None:
    """Read an unsigned number; None if it is none or needs more bits. No sign, no underscores."""
    value = _parse_digits(text, "0123456789"[:base], base)
    return None if value is None or value >= 2**bits else value


def parse_int(text: str, *, bits: int) -> int:
    """Read a signed decimal number.

    Raises InputError in the words of `strconv.ParseInt`.
    """
    sign, digits = (text[:1], text[1:]) if text[:1] in {"+", "-"} else ("", text)
    value = _parse_digits(digits, "0123456789", 10)
    if value is None:
        raise InputError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    value = -value if sign == "-" else value
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise InputError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return value


def parse_duration(text: str) -> int:
    """Read a duration like `1h2m3.5s` and return nanoseconds.

    Raises InputError in the words of `time.ParseDuration`.
    """
    invalid = f"time: invalid duration {quote(text)}"
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0
    if not rest:
        raise InputError(invalid)
    total = 0
    while rest:
        match = _DURATION_PART.match(rest)
        assert match is not None
        total += _duration_part(match, text)
        rest = rest[match.end() :]
    if total > _MAX_INT64 + (sign < 0):
        raise InputError(invalid)
    return sign * total


def _duration_part(match: re.Match[str], text: str) -> int:
    whole, _point, fraction, unit = match.groups()
    if not whole and not fraction:
        raise InputError(f"time: invalid duration {quote(text)}")
    if not unit:
        raise InputError(f"time: missing unit in duration {quote(text)}")
    if unit not in _NANOSECONDS:
        raise InputError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
    if len(whole.lstrip("0")) > 19:
        raise InputError(f"time: invalid duration {quote(text)}")
    # Eighteen digits are what Go's 63 bits hold of a fraction; it drops the others as well.
    fraction = (fraction or "")[:18]
    scale = _NANOSECONDS[unit]
    parts_of_one: int = 10 ** len(fraction)
    return int(whole or "0") * scale + int(fraction or "0") * scale // parts_of_one


def parse_size(text: str) -> int | None:
    """Read a size in bytes like `10m` or `1.5GiB`, powers of 1024; None if it is none.

    Source: docker/go-units, `RAMInBytes`.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number, suffix = match.groups()
    unit = suffix.lower()
    if unit in {"", "b"}:
        power = 0
    elif unit[0] in _SIZE_UNITS and unit[1:] in {"", "b", "ib"}:
        power = _SIZE_UNITS.index(unit[0]) + 1
    else:
        return None
    size = float(number) * 1024**power
    return int(size) if size <= _MAX_INT64 else None


def csv_fields(text: str) -> list[str]:
    r"""Split one CSV record: fields in double quotes may hold commas, and `""` for a quote.

    Raises InputError. Source: RFC 4180, as tonistiigi/go-csvvalue reads it: line feeds are ordinary.
    """
    rest = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not rest:
        raise InputError("EOF")
    fields: list[str] = []
    position = 0
    while True:
        field, position = _csv_field(rest, position)
        fields.append(field)
        if position == len(rest):
            return fields
        position += 1


def _csv_field(text: str, start: int) -> tuple[str, int]:
    if not text.startswith('"', start):
        end = text.find(",", start)
        end = len(text) if end < 0 else end
        if (bare := text.find('"', start, end)) >= 0:
            raise InputError(_csv_error(bare, 'bare " in non-quoted-field'))
        return text[start:end], end
    parts: list[str] = []
    position = start + 1
    while True:
        end = text.find('"', position)
        if end < 0:
            raise InputError(_csv_error(len(text) - 1, 'extraneous or missing " in quoted-field'))
        parts.append(text[position:end])
        after = text[end + 1 : end + 2]
        if after != '"':
            break
        parts.append('"')
        position = end + 2
    if after not in {"", ","}:
        raise InputError(_csv_error(end, 'extraneous or missing " in quoted-field'))
    return "".join(parts), end + 1


def _csv_error(index: int, message: str) -> str:
    return f"parse error on line 1, column {index + 1}: {message}"


def nearest(wrong: str, options: Iterable[str], *, fold_case: bool = False) -> str:
    """Return the nearest option, or "" if none is less than 3 edits away, or `wrong` is one.

    The first of equally near options is taken. `fold_case` compares without case and answers in the
    case of `wrong`.
    """
    found = ""
    limit = _NEAR
    sought = wrong.lower() if fold_case else wrong
    for option in options:
        candidate = option.lower() if fold_case else option
        if candidate == sought:
            return ""
        distance = _edits(sought, candidate, limit)
        if distance < limit:
            limit, found = distance, candidate
    if found and fold_case and wrong != wrong.lower() and wrong == wrong.upper():
        found = found.upper()
    return found


def suggestion(wrong: str, options: Iterable[str], *, fold_case: bool = False) -> str:
    """Return ` (did you mean X?)` for the nearest option, "" if there is none, as `nearest`."""
    found = nearest(wrong, options, fold_case=fold_case)
    return f" (did you mean {found}?)" if found else ""


def _edits(one: str, other: str, limit: int) -> int:
    """Return the Levenshtein distance, or `limit` if it is that or more."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    row = list(range(len(other) + 1))
    for index, char in enumerate(one, 1):
        previous, row[0] = row[0], index
        for column, against in enumerate(other, 1):
            cost = previous if char == against else 1 + min(previous, row[column], row[column - 1])
            previous, row[column] = row[column], cost
    return min(row[-1], limit)
