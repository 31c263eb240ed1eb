"""Calls of functions in expressions of HCL, with HCL's messages. Source: behaviour of hashicorp/hcl."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.dispatch import Scope, attempt, evaluate
from polyarch.bakefile.hcl.functions.spec import ArgumentError, Function, FunctionError
from polyarch.bakefile.hcl.nodes import (
    Call,
    opening_of,
)
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.typeexpr import read_type
from polyarch.bakefile.hcl.types import Kind
from polyarch.bakefile.hcl.values import (
    FALSE,
    TRUE,
    Value,
    null_of,
)
from polyarch.golang.strconv import quote
from polyarch.text.nearest import nearest

__all__ = ["call"]


def call(node: Call, scope: Scope) -> Value:
    """Return the result of a call. Raises HclError."""
    if node.name in _LAZY:
        return _LAZY[node.name](node, scope)
    functions = scope.all_functions()
    found = functions.get(node.name)
    if found is None:
        near = nearest(node.name, [*functions, *_LAZY])
        hint = f" Did you mean {quote(near)}?" if near else ""
        detail = f"There is no function named {quote(node.name)}.{hint}"
        raise HclError("Call to unknown function", detail, node.name_at)
    arguments = _arguments(node, scope)
    _check_count(node, found, arguments)
    values = [_fitting(each, found, index) for index, each in enumerate(arguments)]
    try:
        return found.call(values)
    except ArgumentError as error:
        parameter = found.parameter(error.index)
        at = arguments[error.index][1] if error.index < len(arguments) else node.at
        detail = f"Invalid value for {quote(parameter.name)} parameter: {error}."
        raise HclError("Invalid function argument", detail, at) from None
    except (FunctionError, HclError) as error:
        detail = f"Call to function {quote(node.name)} failed: {error}."
        raise HclError("Error in function call", detail, opening_of(node)) from error


def _arguments(node: Call, scope: Scope) -> list[tuple[Value, Range]]:
    fixed = node.arguments[:-1] if node.expands else node.arguments
    found = [(evaluate(each, scope), each.at) for each in fixed]
    if node.expands:
        last = node.arguments[-1]
        value = evaluate(last, scope)
        summary = "Invalid expanding argument value"
        if value.type.kind not in {Kind.LIST, Kind.SET, Kind.TUPLE}:
            raise HclError(
                summary,
                "The expanding argument (indicated by ...) must be of a tuple, list, or set type.",
                last.at,
            )
        if value.is_null:
            raise HclError(
                summary, "The expanding argument (indicated by ...) must not be null.", last.at
            )
        found += [(each, last.at) for each in value.raw]
    return found


def _check_count(node: Call, function: Function, given: Sequence[tuple[Value, Range]]) -> None:
    wanted = len(function.parameters)
    if len(given) < wanted:
        least = " at least" if function.rest else ""
        missing = function.parameters[len(given)].name
        raise HclError(
            "Not enough function arguments",
            f"Function {quote(node.name)} expects{least} {wanted} argument(s). Missing value for {quote(missing)}.",
            node.close_at,
        )
    if function.rest is None and len(given) > wanted:
        raise HclError(
            "Too many function arguments",
            f"Function {quote(node.name)} expects only {wanted} argument(s).",
            given[wanted][1],
        )


def _fitting(argument: tuple[Value, Range], function: Function, index: int) -> Value:
    value, at = argument
    parameter = function.parameter(index)
    try:
        return convert(value, parameter.type)
    except ConversionError as error:
        detail = f"Invalid value for {quote(parameter.name)} parameter: {error}."
        raise HclError("Invalid function argument", detail, at) from None


def _try(node: Call, scope: Scope) -> Value:
    if not node.arguments:
        detail = 'Call to function "try" failed: at least one argument is required.'
        raise HclError("Error in function call", detail, opening_of(node))
    failures = []
    for each in node.arguments:
        found = attempt(each, scope)
        if isinstance(found, Value):
            return found
        failures.append(f"- {found}")
    detail = (
        'Call to function "try" failed: no expression succeeded:\n'
        + "\n".join(failures)
        + "\n\nAt least one expression must produce a successful result."
    )
    raise HclError("Error in function call", detail, opening_of(node))


def _can(node: Call, scope: Scope) -> Value:
    _exactly(node, 1, ("expression",))
    return TRUE if isinstance(attempt(node.arguments[0], scope), Value) else FALSE


def _convert(node: Call, scope: Scope) -> Value:
    _exactly(node, 2, ("value", "type"))
    value = evaluate(node.arguments[0], scope)
    wanted, _defaults = read_type(node.arguments[1])
    if value.is_null:
        return null_of(wanted)
    try:
        return convert(value, wanted)
    except ConversionError as error:
        detail = f'Invalid value for "value" parameter: {error}.'
        raise HclError("Invalid function argument", detail, node.arguments[0].at) from None


def _exactly(node: Call, count: int, names: Sequence[str]) -> None:
    given = len(node.arguments)
    if given < count:
        raise HclError(
            "Not enough function arguments",
            f"Function {quote(node.name)} expects {count} argument(s). Missing value for {quote(names[given])}.",
            node.close_at,
        )
    if given > count:
        raise HclError(
            "Too many function arguments",
            f"Function {quote(node.name)} expects only {count} argument(s).",
            node.arguments[count].at,
        )


_LAZY: Mapping[str, Callable[[Call, Scope], Value]] = {
    "try": _try,
    "can": _can,
    "convert": _convert,
}
"""Functions whose arguments aren't values."""
