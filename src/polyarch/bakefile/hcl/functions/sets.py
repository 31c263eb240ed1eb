"""Functions of sets. Source: behaviour of go-cty's `function/stdlib`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.types import DYNAMIC, Kind, Type, set_of, tuple_of
from polyarch.bakefile.hcl.unify import unify
from polyarch.bakefile.hcl.values import (
    FALSE,
    TRUE,
    Value,
    equals,
    list_value,
    set_value,
    tuple_value,
)

__all__ = ["SETS"]

_ANY_SET = set_of(DYNAMIC)
_MOST_PRODUCTS = 1 << 20


def _common(values: Sequence[Value]) -> Type:
    kinds = [
        each.type.element
        for each in values
        if each.raw or each.type.element.kind is not Kind.DYNAMIC
    ]
    if not kinds:
        return DYNAMIC
    found = unify(kinds)
    if found is None:
        raise FunctionError("given sets must all have compatible element types")
    return found


def _holds(items: Sequence[Value], value: Value) -> bool:
    return any(equals(each, value) for each in items)


def _operation(
    join: Callable[[Sequence[Value], Sequence[Value]], Sequence[Value]],
) -> Callable[..., Value]:
    def run(*values: Value) -> Value:
        element = _common(values)
        found: Sequence[Value] = ()
        for index, each in enumerate(values):
            try:
                items = convert(each, set_of(element)).raw
            except ConversionError as error:
                raise ArgumentError(index, str(error)) from None
            found = join(found, items) if index else items
        return set_value(found, element)

    return run


def _intersection(one: Sequence[Value], other: Sequence[Value]) -> Sequence[Value]:
    return [each for each in one if _holds(other, each)]


def _difference(one: Sequence[Value], other: Sequence[Value]) -> Sequence[Value]:
    return [each for each in one if not _holds(other, each)]


def _has_element(items: Value, value: Value) -> Value:
    return TRUE if _holds(items.raw, value) else FALSE


def _product(*values: Value) -> Value:
    if len(values) < 2:
        raise FunctionError("at least two arguments are required")
    for index, each in enumerate(values):
        if each.type.kind not in {Kind.LIST, Kind.SET, Kind.TUPLE}:
            raise ArgumentError(index, f"a set or a list is required, not {each.type.friendly()}")
    kinds = [_element_of(each) for each in values]
    if prod(len(each.raw) for each in values) > _MOST_PRODUCTS:
        raise FunctionError(f"more than {_MOST_PRODUCTS} combinations")
    rows = product(*(each.raw for each in values))
    found = [
        tuple_value([convert(each, kind) for each, kind in zip(row, kinds, strict=True)])
        for row in rows
    ]
    element = tuple_of(kinds)
    if all(each.type.kind is not Kind.SET for each in values):
        return list_value(found, element)
    return set_value(found, element)


def _element_of(value: Value) -> Type:
    if value.type.kind is not Kind.TUPLE:
        return value.type.element
    if not value.type.inner:
        return DYNAMIC
    found = unify(value.type.inner)
    if found is None:
        raise FunctionError("all elements must be of the same type")
    return found


def _combining(run: Callable[[Sequence[Value], Sequence[Value]], Sequence[Value]]) -> Function:
    first = Parameter("first_set", _ANY_SET)
    return function(_operation(run), first, rest=Parameter("other_sets", _ANY_SET))


SETS: Mapping[str, Function] = {
    "sethaselement": function(_has_element, Parameter("set", _ANY_SET), Parameter("elem")),
    "setintersection": _combining(_intersection),
    "setproduct": function(_product, rest=Parameter("sets")),
    "setsubtract": function(
        _operation(_difference), Parameter("a", _ANY_SET), Parameter("b", _ANY_SET)
    ),
    "setsymmetricdifference": _combining(
        lambda one, other: [*_difference(one, other), *_difference(other, one)]
    ),
    "setunion": _combining(lambda one, other: [*one, *other]),
}
