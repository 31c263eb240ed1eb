"""Expressions of HCL -> values.

The first fault ends an evaluation. HCL goes on and collects, with unknown values in place of what failed; what
of that can be seen is kept: a branch that isn't taken, and an operand that doesn't decide, may fail.
Source: HCL's native syntax specification, and behaviour of hashicorp/hcl.
"""

from __future__ import annotations

from polyarch.bakefile.hcl.access import element, follow
from polyarch.bakefile.hcl.calls import call
from polyarch.bakefile.hcl.conditions import binary, conditional, unary
from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.dispatch import RULES, Scope, evaluate
from polyarch.bakefile.hcl.loops import loop, splat, splat_item
from polyarch.bakefile.hcl.nodes import (
    Binary,
    Call,
    Conditional,
    For,
    Index,
    Join,
    Literal,
    ObjectKey,
    Objects,
    Parens,
    Relative,
    Splat,
    SplatItem,
    Template,
    Traversal,
    Tuples,
    Unary,
    Wrap,
    keyword,
)
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.types import STRING
from polyarch.bakefile.hcl.values import (
    Value,
    object_value,
    string,
    tuple_value,
)
from polyarch.golang.strconv import quote
from polyarch.text.nearest import nearest

__all__ = ["Scope", "evaluate"]


# --- variables ---


def _traversal(node: Traversal, scope: Scope) -> Value:
    value = scope.find(node.root)
    if value is None:
        near = nearest(node.root, scope.names())
        hint = f" Did you mean {quote(near)}?" if near else ""
        detail = f"There is no variable named {quote(node.root)}.{hint}"
        raise HclError("Unknown variable", detail, node.root_at)
    return follow(value, node.steps)


def _relative(node: Relative, scope: Scope) -> Value:
    return follow(evaluate(node.source, scope), node.steps)


def _index(node: Index, scope: Scope) -> Value:
    collection = evaluate(node.collection, scope)
    return element(collection, evaluate(node.key, scope), node.bracket)


# --- what is made of parts ---


def _tuples(node: Tuples, scope: Scope) -> Value:
    return tuple_value([evaluate(each, scope) for each in node.items])


def _object_key(node: ObjectKey, scope: Scope) -> Value:
    if name := keyword(node.inner):
        return string(name)
    if isinstance(node.inner, Traversal):
        raise HclError(
            "Ambiguous attribute key",
            "If this expression is intended to be a reference, wrap it in parentheses. If it's instead intended as a literal name containing periods, wrap it in quotes to create a string literal.",
            node.at,
        )
    return evaluate(node.inner, scope)


def _objects(node: Objects, scope: Scope) -> Value:
    items: dict[str, Value] = {}
    for item in node.items:
        key = evaluate(item.key, scope)
        value = evaluate(item.value, scope)
        if key.is_null:
            raise HclError("Null value as key", "Can't use a null value as a key.", item.value.at)
        try:
            items[convert(key, STRING).raw] = value
        except ConversionError as error:
            detail = f"Can't use this value as a key: {error}."
            raise HclError("Incorrect key type", detail, item.key.at) from None
    return object_value(items)


def _template(node: Template, scope: Scope) -> Value:
    texts = [
        _text_of(evaluate(part, scope), part.at, "The expression result is null.")
        for part in node.parts
    ]
    return string("".join(texts))


def _text_of(value: Value, at: Range, complaint: str) -> str:
    summary = "Invalid template interpolation value"
    if value.is_null:
        detail = f"{complaint} Cannot include a null value in a string template."
        raise HclError(summary, detail, at)
    try:
        return str(convert(value, STRING).raw)
    except ConversionError as error:
        detail = f"Cannot include the given value in a string template: {error}."
        raise HclError(summary, detail, at) from None


def _join(node: Join, scope: Scope) -> Value:
    parts = evaluate(node.tuple, scope).raw
    return string(
        "".join(_text_of(each, node.at, "An iteration result is null.") for each in parts)
    )


def _literal(node: Literal, _scope: Scope) -> Value:
    return node.value


def _inner(node: Parens | Wrap, scope: Scope) -> Value:
    return evaluate(node.inner, scope)


RULES.update(
    {
        Literal: _literal,
        Traversal: _traversal,
        Relative: _relative,
        Index: _index,
        SplatItem: splat_item,
        Splat: splat,
        Call: call,
        Conditional: conditional,
        Binary: binary,
        Unary: unary,
        Parens: _inner,
        Wrap: _inner,
        Tuples: _tuples,
        ObjectKey: _object_key,
        Objects: _objects,
        For: loop,
        Template: _template,
        Join: _join,
    }
)
