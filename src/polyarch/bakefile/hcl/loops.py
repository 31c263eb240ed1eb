"""`for` and splats in expressions of HCL. Source: behaviour of hashicorp/hcl."""

from __future__ import annotations

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.dispatch import Scope, evaluate
from polyarch.bakefile.hcl.nodes import (
    Expression,
    For,
    Splat,
    SplatItem,
)
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.hcl.types import BOOL, STRING, Kind
from polyarch.bakefile.hcl.values import (
    Value,
    elements,
    list_value,
    object_value,
    tuple_value,
)
from polyarch.golang.strconv import quote

__all__ = ["loop", "splat", "splat_item"]


def splat_item(_node: SplatItem, scope: Scope) -> Value:
    """Return the element that a splat is at."""
    inner: Scope | None = scope
    while inner is not None:
        if inner.item is not None:
            return inner.item
        inner = inner.parent
    raise AssertionError("an element outside of a splat")


def splat(node: Splat, scope: Scope) -> Value:
    """Return what `[*]` or `.*` makes of a sequence, or of the one value that it is applied to. Raises HclError."""
    source = evaluate(node.source, scope)
    kind = source.type.kind
    is_whole = kind in {Kind.LIST, Kind.SET, Kind.TUPLE}
    if source.is_null:
        if is_whole:
            raise HclError(
                "Splat of null value",
                "Splat expressions (with the * symbol) cannot be applied to null sequences.",
                node.source.at,
            )
        return tuple_value([])
    results = []
    for each in source.raw if is_whole else (source,):
        inner = scope.child({})
        inner.item = each
        results.append(evaluate(node.each, inner))
    if kind in {Kind.LIST, Kind.SET}:
        if any(each.type != results[0].type for each in results):
            raise HclError(
                "Invalid nested splat expressions",
                "The second level of splat expression produced elements of different types, so it isn't possible to construct a valid list to represent the top-level result.",
                node.each.at,
            )
        return list_value(results, source.type.element)
    return tuple_value(results)


def loop(node: For, scope: Scope) -> Value:
    """Return the tuple or the object that a `for` makes. Raises HclError."""
    collection = evaluate(node.collection, scope)
    at = node.collection.at
    if collection.is_null:
        raise HclError(
            "Iteration over null value",
            "A null value cannot be used as the collection in a 'for' expression.",
            at,
        )
    if not collection.type.is_iterable:
        detail = f"A value of type {collection.type.friendly()} cannot be used as the collection in a 'for' expression."
        raise HclError("Iteration over non-iterable value", detail, at)
    values: list[Value] = []
    groups: dict[str, list[Value]] = {}
    for key, each in elements(collection):
        inner = scope.child({node.value_name: each, **_key_variable(node, key)})
        if node.condition is not None and not _is_wanted(node.condition, inner):
            continue
        if node.key is None:
            values.append(evaluate(node.value, inner))
            continue
        name = _loop_key(node.key, inner)
        value = evaluate(node.value, inner)
        if name in groups and not node.groups:
            raise HclError(
                "Duplicate object key",
                f"Two different items produced the key {quote(name)} in this 'for' expression. If duplicates are expected, use the ellipsis (...) after the value expression to enable grouping by key.",
                node.key.at,
            )
        groups.setdefault(name, []).append(value)
    if node.key is None:
        return tuple_value(values)
    return object_value(
        {name: tuple_value(some) if node.groups else some[0] for name, some in groups.items()}
    )


def _key_variable(node: For, key: Value) -> dict[str, Value]:
    return {node.key_name: key} if node.key_name else {}


def _is_wanted(condition: Expression, scope: Scope) -> bool:
    value = evaluate(condition, scope)
    summary = "Invalid 'for' condition"
    if value.is_null:
        raise HclError(summary, "The value of the 'if' clause must not be null.", condition.at)
    try:
        return bool(convert(value, BOOL).raw)
    except ConversionError as error:
        detail = f"The 'if' clause value is invalid: {error}."
        raise HclError(summary, detail, condition.at) from None


def _loop_key(expression: Expression, scope: Scope) -> str:
    value = evaluate(expression, scope)
    if value.is_null:
        raise HclError(
            "Invalid object key",
            "Key expression in 'for' expression must not produce a null value.",
            expression.at,
        )
    try:
        return str(convert(value, STRING).raw)
    except ConversionError as error:
        detail = f"The key expression produced an invalid result: {error}."
        raise HclError("Invalid object key", detail, expression.at) from None
