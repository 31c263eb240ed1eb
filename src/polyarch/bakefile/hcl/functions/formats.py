"""`format` and `formatlist`: texts with verbs such as `%s` and `%05d`.

Source: documentation and behaviour of go-cty's `function/stdlib`, and of Go's package fmt for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.functions.clusters import clusters
from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.numbers import Num, text_general
from polyarch.bakefile.hcl.types import BOOL, NUMBER, STRING, Kind, Type
from polyarch.bakefile.hcl.values import Value, json_text, list_value, string
from polyarch.golang.json import compact
from polyarch.golang.strconv import quote
from polyarch.pattern import pattern

__all__ = ["FORMATS"]

_VERB = pattern(r"%([ 0#+-]*)(\d*)(?:(\.)(\d*))?(?:\[(\d+)\])?([a-zA-Z%])")
_INTEGERS = {"b": 2, "d": 10, "o": 8, "x": 16, "X": 16}
_FLOATS = "eEfgG"
_WIDEST = 10_000


class _Verb(NamedTuple):
    raw: str
    offset: int
    flags: str
    width: int
    precision: int
    mode: str


def _formatted(template: str, values: Sequence[Value]) -> str:
    parts: list[str] = []
    position = used = highest = 0
    while True:
        start = template.find("%", position)
        if start < 0:
            break
        parts.append(template[position:start])
        if template.startswith("%%", start):
            parts.append("%")
            position = start + 2
            continue
        match = _VERB.match(template, start)
        if match is None:
            raise _bad(template, start)
        used = int(match[5]) if match[5] else used + 1
        highest = max(highest, used)
        parts.append(_verb(match, used, values))
        position = match.end()
    parts.append(template[position:])
    if highest < len(values):
        if highest == 0:
            raise FunctionError("too many arguments; no verbs in format string")
        raise FunctionError(f"too many arguments; only {highest} used by format string")
    return "".join(parts)


def _bad(template: str, start: int) -> FunctionError:
    position = start + 1
    while position < len(template) and template[position] in " 0#+-.[]123456789":
        position += 1
    if position == len(template):
        return FunctionError("unterminated format verb: missing verb letter")
    char = template[position]
    offset = len(template[:position].encode())
    return FunctionError(f"unrecognized format character {char!r} at offset {offset}")


def _verb(match: re.Match[str], number: int, values: Sequence[Value]) -> str:
    offset = len(match.string[: match.start()].encode())
    verb = _Verb(
        raw=match.group(),
        offset=offset,
        flags=match[1],
        width=min(int(match[2] or -1), _WIDEST),
        precision=min(int(match[4] or 0), _WIDEST) if match[3] else -1,
        mode=match[6],
    )
    if verb.mode not in f"vtsqbdoxX{_FLOATS}":
        raise FunctionError(
            f"unsupported format verb {verb.mode!r} in {quote(verb.raw)} at offset {offset}"
        )
    if number > len(values):
        raise FunctionError(
            f"not enough arguments for {quote(verb.raw)} at {offset}: need index {number} but have {len(values)} total"
        )
    value = values[number - 1]
    if verb.mode != "v" and value.is_null:
        raise _unsupported(verb, "null value cannot be formatted")
    if verb.mode == "v":
        return _as_is(verb, value)
    if verb.mode == "t":
        return "true" if _as(verb, value, BOOL).raw else "false"
    if verb.mode in "sq":
        return _text(verb, value)
    return _number(verb, value)


def _unsupported(verb: _Verb, reason: object) -> FunctionError:
    return FunctionError(f"unsupported value for {quote(verb.raw)} at {verb.offset}: {reason}")


def _as(verb: _Verb, value: Value, wanted: Type) -> Value:
    try:
        return convert(value, wanted)
    except ConversionError as error:
        raise _unsupported(verb, error) from None


def _as_is(verb: _Verb, value: Value) -> str:
    if "#" not in verb.flags and not value.is_null:
        if value.type == STRING:
            return _padded(verb, value.raw)
        if value.type == NUMBER:
            return _padded(verb, text_general(value.raw))
    try:
        return _padded(verb, json_text(value))
    except ValueError as error:
        raise _unsupported(verb, error) from None


def _text(verb: _Verb, value: Value) -> str:
    content = _as(verb, value, STRING).raw
    if verb.precision > 0:
        content = "".join(clusters(content)[: verb.precision])
    return _padded(verb, compact(content).decode() if verb.mode == "q" else content)


def _padded(verb: _Verb, content: str) -> str:
    pad = ("0" if "0" in verb.flags else " ") * (verb.width - len(clusters(content)))
    return content + pad if "-" in verb.flags else pad + content


def _number(verb: _Verb, value: Value) -> str:
    num = _as(verb, value, NUMBER).raw
    if verb.mode in _INTEGERS:
        if not num.is_integer:
            raise _unsupported(verb, "an integer is required")
        digits = _digits(verb, abs(int(num.value)))
    else:
        digits = _float_digits(verb, num)
    negative = num.value < 0 or num.infinite < 0
    sign = "-" if negative else "+" if "+" in verb.flags else " " if " " in verb.flags else ""
    missing = verb.width - len(sign) - len(digits)
    if "-" in verb.flags:
        return sign + digits + " " * missing
    if "0" in verb.flags and not num.infinite and (verb.mode in _FLOATS or verb.precision < 0):
        return sign + "0" * missing + digits
    return " " * missing + sign + digits


def _digits(verb: _Verb, number: int) -> str:
    code = {"b": "b", "d": "d", "o": "o", "x": "x", "X": "X"}[verb.mode]
    digits = format(number, code)
    if verb.precision >= 0:
        digits = "" if verb.precision == 0 and number == 0 else digits.rjust(verb.precision, "0")
    if "#" in verb.flags:
        digits = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}.get(verb.mode, "") + digits
    return digits


def _float_digits(verb: _Verb, num: Num) -> str:
    if num.infinite:
        return "Inf"
    value = abs(num.value)
    if verb.mode == "f":
        precision = 6 if verb.precision < 0 else verb.precision
        whole, rest = divmod(round(value * 10**precision), 10**precision)
        return f"{whole}.{rest:0{precision}d}" if precision else str(whole)
    if verb.mode in "gG" and verb.precision < 0:
        found = text_general(num._replace(value=value))
        if value and Fraction(10) ** 6 <= value < Fraction(10) ** 21 and "e" in found:
            # Only `%v` goes over to exponents as soon as that.
            found = _shifted(found)
        return found.upper() if verb.mode == "G" else found
    precision = 6 if verb.precision < 0 else verb.precision
    if verb.mode in "gG":
        return _general(value, max(precision, 1), verb.mode)
    return _exponential(value, precision, verb.mode)


def _shifted(found: str) -> str:
    mantissa, _e, exponent = found.partition("e")
    whole, _dot, rest = mantissa.partition(".")
    power = int(exponent)
    digits = rest.ljust(power, "0")
    tail = digits[power:]
    return whole + digits[:power] + (f".{tail}" if tail else "")


def _exponent(value: Fraction) -> int:
    if not value:
        return 0
    size = len(str(value.numerator)) - len(str(value.denominator))
    return size if value >= Fraction(10) ** size else size - 1


def _exponential(value: Fraction, precision: int, mode: str) -> str:
    power = _exponent(value)
    scaled = round(value / Fraction(10) ** power * 10**precision)
    if scaled >= 10 ** (precision + 1):
        power += 1
        scaled = round(value / Fraction(10) ** power * 10**precision)
    digits = str(scaled).rjust(precision + 1, "0")
    tail = f".{digits[1:]}" if precision else ""
    return f"{digits[0]}{tail}{mode}{'-' if power < 0 else '+'}{abs(power):02d}"


def _general(value: Fraction, precision: int, mode: str) -> str:
    letter = "E" if mode == "G" else "e"
    mantissa, _e, exponent = _exponential(value, precision - 1, letter).partition(letter)
    power = int(exponent)
    if power < -4 or power >= precision:
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}{letter}{exponent}"
    places = max(precision - 1 - power, 0)
    whole, rest = divmod(round(value * 10**places), 10**places)
    tail = f"{rest:0{places}d}".rstrip("0") if places else ""
    return f"{whole}.{tail}" if tail else str(whole)


def _format(template: Value, *values: Value) -> Value:
    return string(_formatted(template.raw, values))


def _format_list(template: Value, *values: Value) -> Value:
    if not values:
        return list_value([_format(template)], STRING)
    rows: list[Value] = []
    for number, row in enumerate(_rows(values)):
        try:
            rows.append(string(_formatted(template.raw, row)))
        except FunctionError as error:
            raise FunctionError(f"error on format iteration {number}: {error}") from None
    return list_value(rows, STRING)


def _rows(values: Sequence[Value]) -> Iterator[list[Value]]:
    lists = {
        index: each.raw
        for index, each in enumerate(values)
        if each.type.kind in {Kind.LIST, Kind.SET, Kind.TUPLE} and not each.is_null
    }
    first = next(iter(lists), None)
    count = len(lists[first]) if first is not None else 1
    for index, each in lists.items():
        if len(each) != count:
            assert first is not None
            raise ArgumentError(
                index + 1,
                f"argument {index + 1} has length {len(each)}, which is inconsistent with argument {first + 1} of length {count}",
            )
    for row in range(count):
        yield [lists[index][row] if index in lists else each for index, each in enumerate(values)]


_ARGUMENTS = Parameter("args", nullable=True)

FORMATS: Mapping[str, Function] = {
    "format": function(_format, Parameter("format", STRING), rest=_ARGUMENTS),
    "formatlist": function(_format_list, Parameter("format", STRING), rest=_ARGUMENTS),
}
