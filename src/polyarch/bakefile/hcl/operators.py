"""Operators of HCL, which are functions of its standard library as well: numbers and truth values in, one out.

Source: behaviour of go-cty's package `function/stdlib`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from polyarch.bakefile.hcl.numbers import Num, rounded
from polyarch.bakefile.hcl.values import FALSE, TRUE, Value, equals, number

__all__ = ["OPERATORS", "Operator", "add", "less", "negate", "same"]


class Operator(NamedTuple):
    """An operator between two numbers: its sign, the name of the function that does the same, and what it does.

    `run` raises ValueError for what has no result.
    """

    sign: str
    name: str
    run: Callable[[Value, Value], Value]


def _made(value: Fraction, *operands: Num) -> Value:
    bits = max(each.bits for each in operands)
    return number(Num(rounded(value, bits), bits))


def _signed(made: Value, left: Num, right: Num) -> Value:
    """Return a product or quotient of two numbers; a zero has a sign, too."""
    if made.raw.value or left.is_negative == right.is_negative:
        return made
    return number(made.raw._replace(minus_zero=True))


def _infinite(sign: int) -> Value:
    return number(Num(Fraction(0), 512, sign))


def _sign(num: Num) -> int:
    return num.infinite or (num.value > 0) - (num.value < 0)


def add(one: Value, other: Value) -> Value:
    """Return the sum. Raises ValueError."""
    left, right = one.raw, other.raw
    if left.infinite or right.infinite:
        if left.infinite * right.infinite < 0:
            raise ValueError("can't compute sum of opposing infinities")
        return _infinite(left.infinite or right.infinite)
    made = _made(left.value + right.value, left, right)
    minus_zero = left.minus_zero and right.minus_zero
    return number(made.raw._replace(minus_zero=True)) if minus_zero else made


def _subtract(one: Value, other: Value) -> Value:
    """Return the difference. Raises ValueError."""
    if one.raw.infinite and one.raw.infinite == other.raw.infinite:
        raise ValueError("can't subtract infinity from itself")
    return add(one, negate(other))


def _multiply(one: Value, other: Value) -> Value:
    """Return the product. Raises ValueError."""
    left, right = one.raw, other.raw
    if left.infinite or right.infinite:
        sign = _sign(left) * _sign(right)
        if not sign:
            raise ValueError("can't multiply zero by infinity")
        return _infinite(sign)
    return _signed(_made(left.value * right.value, left, right), left, right)


def _divide(one: Value, other: Value) -> Value:
    """Return the quotient, which is infinite for a division by zero. Raises ValueError."""
    left, right = one.raw, other.raw
    if (not _sign(left) and not _sign(right)) or (left.infinite and right.infinite):
        raise ValueError("can't divide zero by zero or infinity by infinity")
    if right.infinite:
        return _signed(_made(Fraction(0), left), left, right)
    if left.infinite or not right.value:
        return _infinite(_sign(left) * (_sign(right) or 1))
    return _signed(_made(left.value / right.value, left, right), left, right)


def _modulo(one: Value, other: Value) -> Value:
    """Return the rest of a division, with the sign of `one`. Raises ValueError."""
    left, right = one.raw, other.raw
    if left.infinite:
        # As go-cty has it: infinity modulo anything is infinity of the other's sign.
        return _infinite(_sign(left) * (_sign(right) or 1))
    if right.infinite or not right.value:
        return one
    quotient = int(left.value / right.value)
    return _made(left.value - quotient * right.value, left, right)


def negate(one: Value) -> Value:
    """Return the number with the other sign."""
    num = one.raw
    minus_zero = not num.value and not num.infinite and not num.minus_zero
    return number(Num(-num.value, num.bits, -num.infinite, minus_zero))


def _truth(answer: bool) -> Value:
    return TRUE if answer else FALSE


def same(one: Value, other: Value) -> Value:
    """Tell whether two values are equal."""
    return _truth(equals(one, other))


def less(one: Value, other: Value) -> Value:
    """Tell whether one number is less than the other."""
    return _truth(one.raw.key() < other.raw.key())


def _at_most(one: Value, other: Value) -> Value:
    """Tell whether one number is no more than the other."""
    return _truth(one.raw.key() <= other.raw.key())


def _greater(one: Value, other: Value) -> Value:
    """Tell whether one number is more than the other."""
    return _truth(one.raw.key() > other.raw.key())


def _at_least(one: Value, other: Value) -> Value:
    """Tell whether one number is no less than the other."""
    return _truth(one.raw.key() >= other.raw.key())


OPERATORS = (
    Operator("+", "add", add),
    Operator("-", "subtract", _subtract),
    Operator("*", "multiply", _multiply),
    Operator("/", "divide", _divide),
    Operator("%", "modulo", _modulo),
    Operator("<", "lessthan", less),
    Operator(">", "greaterthan", _greater),
    Operator("<=", "lessthanorequalto", _at_most),
    Operator(">=", "greaterthanorequalto", _at_least),
)
