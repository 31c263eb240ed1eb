"""Operators, numbers, sums, sorting and types."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable
from fractions import Fraction

from polyarch.rego.builtins.given import (
    Table,
    a_collection,
    a_number,
    a_text,
    an_integer,
    members,
)
from polyarch.rego.undefined import Unfit
from polyarch.rego.values import Obj, SetOf, equal, key_of, type_of

__all__ = ["BASIC"]

_MOST = 1_000_000
_WIDEST = 4096
"""The bits that a shift or a product may have."""


def _number(value: float | Fraction) -> int | float:
    """Return a number, a whole one if it is one. Raises Unfit for one too large."""
    if isinstance(value, int):
        if value.bit_length() > _WIDEST:
            raise Unfit
        return value
    if value == int(value):
        return _number(int(value))
    return float(value)


def _exact(value: object) -> int | Fraction:
    """Return a number as it was written: 0.1 is a tenth."""
    given = a_number(value)
    return given if isinstance(given, int) else Fraction(repr(given))


def _arithmetic(do: Callable[..., object]) -> Callable[[object, object], object]:
    def result(one: object, other: object) -> object:
        found = do(_exact(one), _exact(other))
        assert isinstance(found, int | Fraction)
        return _number(found)

    return result


def _minus(one: object, other: object) -> object:
    if isinstance(one, SetOf) and isinstance(other, SetOf):
        return SetOf(each for each in one if not other.has(each))
    return _number(_exact(one) - _exact(other))


def _divide(one: object, other: object) -> object:
    if not _exact(other):
        raise Unfit
    return _number(Fraction(_exact(one)) / _exact(other))


def _remainder(one: object, other: object) -> object:
    dividend, divisor = an_integer(one), an_integer(other)
    if not divisor:
        raise Unfit
    return (-1 if dividend < 0 else 1) * (abs(dividend) % abs(divisor))


def _and(one: object, other: object) -> object:
    if isinstance(one, SetOf) and isinstance(other, SetOf):
        return SetOf(each for each in one if other.has(each))
    raise Unfit


def _or(one: object, other: object) -> object:
    if isinstance(one, SetOf) and isinstance(other, SetOf):
        return SetOf([*one, *other])
    raise Unfit


def _compared(how: Callable[..., bool]) -> Callable[[object, object], object]:
    return lambda one, other: how(key_of(one), key_of(other))


def _is_in(*given: object) -> object:
    *key, member, whole = given
    if isinstance(whole, Obj):
        return any(
            equal(member, each) and (not key or equal(name, key[0])) for name, each in whole.items()
        )
    if isinstance(whole, SetOf):
        return whole.has(member) and (not key or equal(key[0], member))
    if isinstance(whole, tuple):
        return any(
            equal(member, each) and (not key or equal(number, key[0]))
            for number, each in enumerate(whole)
        )
    return False


# --- numbers ---


def _abs(value: object) -> object:
    given = _exact(value)
    return _number(-given if given < 0 else given)


def _round(value: object) -> object:
    given = _exact(value)
    half = Fraction(1, 2)
    return math.ceil(given - half) if given < 0 else math.floor(given + half)


def _shift_left(value: object, count: object) -> object:
    places = an_integer(count)
    if not 0 <= places <= _WIDEST:
        raise Unfit
    return _number(an_integer(value) << places)


def _shift_right(value: object, count: object) -> object:
    places = an_integer(count)
    if places < 0:
        raise Unfit
    return an_integer(value) >> min(places, _WIDEST)


def _bits(do: Callable[[int, int], int]) -> Callable[[object, object], object]:
    return lambda one, other: do(an_integer(one), an_integer(other))


def _range(first: object, last: object, step: object = 1) -> object:
    begin, end, by = an_integer(first), an_integer(last), an_integer(step)
    if by <= 0 or abs(end - begin) // by >= _MOST:
        raise Unfit
    return tuple(range(begin, end + 1, by) if begin <= end else range(begin, end - 1, -by))


def _random(_seed: object, end: object) -> object:
    below = abs(an_integer(end))
    # Not a secret: a number that a policy wants to draw.
    return random.randrange(below) if below else 0  # noqa: S311


def _to_number(value: object) -> object:
    if value is None:
        return 0
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    try:
        text = a_text(value)
        number = (
            Fraction(text) if "/" not in text and "_" not in text and text.strip() == text else None
        )
    except ValueError:
        raise Unfit from None
    if number is None or len(text) > _WIDEST:
        raise Unfit
    return _number(number)


# --- many ---


def _sum(value: object) -> object:
    total: int | Fraction = 0
    for each in members(value):
        total += _exact(each)
    return _number(total)


def _product(value: object) -> object:
    result: int | Fraction = 1
    for each in members(value):
        result *= _exact(each)
        _number(result)
    return _number(result)


def _most(choose: Callable[..., object]) -> Callable[[object], object]:
    def result(value: object) -> object:
        listed = members(value)
        if not listed:
            raise Unfit
        return choose(listed, key=key_of)

    return result


def _count(value: object) -> object:
    return len(value) if isinstance(value, str) else len(a_collection(value))


def _sort(value: object) -> object:
    return tuple(sorted(members(value), key=key_of))


def _is(name: str) -> Callable[[object], object]:
    return lambda value: type_of(value) == name


BASIC: Table = {
    "+": (2, _arithmetic(operator.add)),
    "-": (2, _minus),
    "*": (2, _arithmetic(operator.mul)),
    "/": (2, _divide),
    "%": (2, _remainder),
    "&": (2, _and),
    "|": (2, _or),
    "==": (2, equal),
    "!=": (2, lambda one, other: not equal(one, other)),
    "<": (2, _compared(operator.lt)),
    "<=": (2, _compared(operator.le)),
    ">": (2, _compared(operator.gt)),
    ">=": (2, _compared(operator.ge)),
    "in": (2, _is_in),
    "abs": (1, _abs),
    "ceil": (1, lambda value: math.ceil(_exact(value))),
    "floor": (1, lambda value: math.floor(_exact(value))),
    "round": (1, _round),
    "bits.and": (2, _bits(operator.and_)),
    "bits.or": (2, _bits(operator.or_)),
    "bits.xor": (2, _bits(operator.xor)),
    "bits.negate": (1, lambda value: ~an_integer(value)),
    "bits.lsh": (2, _shift_left),
    "bits.rsh": (2, _shift_right),
    "numbers.range": (2, _range),
    "numbers.range_step": (3, _range),
    "rand.intn": (2, _random),
    "to_number": (1, _to_number),
    "count": (1, _count),
    "sum": (1, _sum),
    "product": (1, _product),
    "max": (1, _most(max)),
    "min": (1, _most(min)),
    "sort": (1, _sort),
    "set": (0, SetOf),
    "type_name": (1, type_of),
    **{
        f"is_{name}": (1, _is(name))
        for name in ("array", "boolean", "null", "number", "object", "set", "string")
    },
}
