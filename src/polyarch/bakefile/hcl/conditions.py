"""Conditions and operators in expressions of HCL. Source: behaviour of hashicorp/hcl."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.dispatch import Scope, attempt, evaluate
from polyarch.bakefile.hcl.nodes import (
    Binary,
    Conditional,
    Unary,
)
from polyarch.bakefile.hcl.operators import OPERATORS, negate, same
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.types import BOOL, NUMBER, Kind, Type
from polyarch.bakefile.hcl.unify import unify
from polyarch.bakefile.hcl.values import (
    FALSE,
    TRUE,
    Value,
)
from polyarch.golang.strconv import quote

__all__ = ["binary", "conditional", "unary"]


def conditional(node: Conditional, scope: Scope) -> Value:
    """Return the branch that is taken, as what both branches can become. Raises HclError."""
    branches = [attempt(node.yes, scope), attempt(node.no, scope)]
    wanted = _common(branches, node)
    condition = evaluate(node.condition, scope)
    if condition.is_null:
        raise HclError(
            "Null condition",
            "The condition value is null. Conditions must either be true or false.",
            node.condition.at,
        )
    try:
        is_true = convert(condition, BOOL).raw
    except ConversionError:
        raise HclError(
            "Incorrect condition type",
            "The condition expression must be of type bool.",
            node.condition.at,
        ) from None
    chosen = branches[0 if is_true else 1]
    if isinstance(chosen, HclError):
        raise chosen
    if wanted is None:
        return chosen
    try:
        return convert(chosen, wanted)
    except ConversionError as error:
        word, at = ("true", node.yes.at) if is_true else ("false", node.no.at)
        raise HclError(
            "Inconsistent conditional result types",
            f"The {word} result value has the wrong type: {error}.",
            at,
        ) from None


def _common(branches: Sequence[Value | HclError], node: Conditional) -> Type | None:
    """Return the type that both branches become, None if that isn't known."""
    known = [each for each in branches if isinstance(each, Value)]
    if len(known) < len(branches):
        return None
    one, other = (each.type for each in known)
    if one.kind is Kind.DYNAMIC or other.kind is Kind.DYNAMIC:
        return other if one.kind is Kind.DYNAMIC else one
    found = unify([one, other])
    if found is None:
        raise HclError(
            "Inconsistent conditional result types",
            f"The true and false result expressions must have consistent types. {_difference(one, other)}.",
            node.at,
        )
    return found


def _difference(one: Type, other: Type) -> str:
    plain = f"The 'true' value is {one.friendly()}, but the 'false' value is {other.friendly()}"
    if one.kind is other.kind is Kind.OBJECT:
        return next(_object_differences(one, other), plain)
    if one.kind is other.kind is Kind.TUPLE:
        return next(_tuple_differences(one, other), plain)
    return plain


def _object_differences(one: Type, other: Type) -> Iterator[str]:
    left, right = one.fields(), other.fields()
    for name, inner in one.attributes:
        if name not in right:
            yield f"The 'true' value includes object attribute {quote(name)}, which is absent in the 'false' value"
        elif inner != right[name]:
            yield f"Type mismatch for object attribute {quote(name)}: {_difference(inner, right[name])}"
    for name in right:
        if name not in left:
            yield f"The 'false' value includes object attribute {quote(name)}, which is absent in the 'true' value"


def _tuple_differences(one: Type, other: Type) -> Iterator[str]:
    if len(one.inner) != len(other.inner):
        yield f"The 'true' tuple has length {len(one.inner)}, but the 'false' tuple has length {len(other.inner)}"
        return
    for index, (left, right) in enumerate(zip(one.inner, other.inner, strict=True)):
        if left != right:
            yield f"Type mismatch for tuple element {index}: {_difference(left, right)}"


_ARITHMETIC = {each.sign: each.run for each in OPERATORS}


def binary(node: Binary, scope: Scope) -> Value:
    """Return the result of an operator between two operands. Raises HclError."""
    if node.operator in {"&&", "||"}:
        return _logic(node, scope)
    if node.operator in {"==", "!="}:
        answer = same(evaluate(node.left, scope), evaluate(node.right, scope))
        return answer if node.operator == "==" else (FALSE if answer.raw else TRUE)
    left = _operand(evaluate(node.left, scope), NUMBER, node.left.at, "left operand")
    right = _operand(evaluate(node.right, scope), NUMBER, node.right.at, "right operand")
    _no_null((left, right), node.at)
    try:
        return _ARITHMETIC[node.operator](left, right)
    except ValueError as error:
        raise HclError("Operation failed", f"Error during operation: {error}.", node.at) from None


def _no_null(values: Sequence[Value], at: Range) -> None:
    if any(each.is_null for each in values):
        raise HclError("Operation failed", "Error during operation: argument must not be null.", at)


def _operand(value: Value, wanted: Type, at: Range, what: str) -> Value:
    try:
        return convert(value, wanted)
    except ConversionError as error:
        detail = f"Unsuitable value for {what}: {error}."
        raise HclError("Invalid operand", detail, at) from None


def _logic(node: Binary, scope: Scope) -> Value:
    decides = node.operator == "||"
    sides: list[Value | HclError] = []
    for part, what in ((node.left, "left operand"), (node.right, "right operand")):
        found = attempt(part, scope)
        if isinstance(found, Value):
            found = _operand(found, BOOL, part.at, what)
            _no_null((found,), node.at)
        sides.append(found)
    if any(isinstance(each, Value) and each.raw is decides for each in sides):
        return TRUE if decides else FALSE
    for each in sides:
        if isinstance(each, HclError):
            raise each
    return FALSE if decides else TRUE


def unary(node: Unary, scope: Scope) -> Value:
    """Return the result of `!` or `-`. Raises HclError."""
    wanted = BOOL if node.operator == "!" else NUMBER
    value = _operand(evaluate(node.operand, scope), wanted, node.operand.at, "unary operand")
    _no_null((value,), node.at)
    if node.operator == "-":
        return negate(value)
    return FALSE if value.raw else TRUE
