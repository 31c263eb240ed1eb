"""Functions of numbers and truth values. Source: behaviour of go-cty's `function/stdlib`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from polyarch.bakefile.hcl.functions.ints import as_float, as_int
from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.numbers import from_float, from_int
from polyarch.bakefile.hcl.operators import OPERATORS, negate, same
from polyarch.bakefile.hcl.types import BOOL, NUMBER, STRING
from polyarch.bakefile.hcl.values import FALSE, TRUE, Value, integer, number
from polyarch.golang.strconv import quote

__all__ = ["ARITHMETIC"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CASELESS_BASE = 36


def _safe(run: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    def call(one: Value, other: Value) -> Value:
        try:
            return run(one, other)
        except ValueError as error:
            raise FunctionError(str(error)) from None

    return call


def _numbers(run: Callable[[Value, Value], Value]) -> Function:
    return function(_safe(run), Parameter("a", NUMBER), Parameter("b", NUMBER))


def _number(run: Callable[[Value], Value]) -> Function:
    return function(run, Parameter("num", NUMBER))


def _absolute(one: Value) -> Value:
    return negate(one) if one.raw.value < 0 or one.raw.infinite < 0 else one


def _whole(rule: Callable[[Fraction], int]) -> Callable[[Value], Value]:
    def run(one: Value) -> Value:
        if one.raw.infinite or one.raw.is_integer:
            return one
        return number(from_int(rule(one.raw.value)))

    return run


def _extreme(run: Callable[..., Value]) -> Function:
    def call(*values: Value) -> Value:
        if not values:
            raise FunctionError("must pass at least one number")
        return run(values, key=lambda each: each.raw.key())

    return function(call, rest=Parameter("numbers", NUMBER))


def _log(one: Value, base: Value) -> Value:
    num, root = as_float(one), as_float(base)
    try:
        above = _natural_log(num)
        below = _natural_log(root)
        return number(from_float(above / below if below else math.copysign(math.inf, above)))
    except ValueError:
        raise FunctionError("can't use NaN as a cty.Number") from None


def _natural_log(num: float) -> float:
    return -math.inf if num == 0 else math.log(num)


def _pow(one: Value, power: Value) -> Value:
    try:
        found = math.pow(as_float(one), as_float(power))
    except OverflowError:
        found = math.inf
    except ValueError:
        raise FunctionError("can't use NaN as a cty.Number") from None
    return number(from_float(found))


def _signum(one: Value) -> Value:
    found = as_int(one)
    return integer((found > 0) - (found < 0))


def _parse_int(source: Value, base: Value) -> Value:
    if source.type != STRING:
        message = f"first argument must be a string, not {source.type.friendly()}"
        raise ArgumentError(0, message)
    root = as_int(base)
    if not 2 <= root <= len(_DIGITS):
        raise ArgumentError(1, "base must be a whole number between 2 and 62 inclusive")
    digits = source.raw[1:] if source.raw[:1] in {"+", "-"} else source.raw
    digits = digits if root > _CASELESS_BASE else digits.lower()
    result = 0
    for char in digits:
        digit = _DIGITS.find(char)
        if not 0 <= digit < root:
            digits = ""
            break
        result = result * root + digit
    if not digits:
        raise ArgumentError(0, f"cannot parse {quote(source.raw)} as a base {root} integer")
    return number(from_int(-result if source.raw.startswith("-") else result))


def _both(one: Value, other: Value) -> Value:
    return TRUE if one.raw and other.raw else FALSE


def _either(one: Value, other: Value) -> Value:
    return TRUE if one.raw or other.raw else FALSE


def _not(one: Value) -> Value:
    return FALSE if one.raw else TRUE


def _differ(one: Value, other: Value) -> Value:
    return _not(same(one, other))


_TRUTHS = (Parameter("a", BOOL), Parameter("b", BOOL))
_ANY_TWO = (Parameter("a", nullable=True), Parameter("b", nullable=True))

ARITHMETIC: Mapping[str, Function] = {
    **{each.name: _numbers(each.run) for each in OPERATORS},
    "absolute": _number(_absolute),
    "and": function(_both, *_TRUTHS),
    "ceil": _number(_whole(math.ceil)),
    "equal": function(same, *_ANY_TWO),
    "floor": _number(_whole(math.floor)),
    "int": _number(_whole(math.trunc)),
    "log": function(_log, Parameter("num", NUMBER), Parameter("base", NUMBER)),
    "max": _extreme(max),
    "min": _extreme(min),
    "negate": _number(negate),
    "not": function(_not, Parameter("val", BOOL)),
    "notequal": function(_differ, *_ANY_TWO),
    "or": function(_either, *_TRUTHS),
    "parseint": function(_parse_int, Parameter("number"), Parameter("base", NUMBER)),
    "pow": function(_pow, Parameter("num", NUMBER), Parameter("power", NUMBER)),
    "signum": _number(_signum),
}
