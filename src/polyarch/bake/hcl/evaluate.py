"""Expressions of HCL -> values.

The first fault ends an evaluation. HCL goes on and collects, with unknown values in place of what failed; what
of that can be seen is kept: a branch that isn't taken, and an operand that doesn't decide, may fail.
Source: HCL's native syntax specification, and behaviour of hashicorp/hcl.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from polyarch.bake.hcl.access import element, follow
from polyarch.bake.hcl.convert import ConversionError, convert
from polyarch.bake.hcl.functions.spec import ArgumentError, Function, FunctionError
from polyarch.bake.hcl.nodes import (
    Binary,
    Call,
    Conditional,
    Expression,
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
from polyarch.bake.hcl.operators import (
    add,
    at_least,
    at_most,
    divide,
    greater,
    less,
    modulo,
    multiply,
    negate,
    same,
    subtract,
)
from polyarch.bake.hcl.place import HclError, Range
from polyarch.bake.hcl.typeexpr import read_type
from polyarch.bake.hcl.types import BOOL, NUMBER, STRING, Kind, Type
from polyarch.bake.hcl.unify import unify
from polyarch.bake.hcl.values import (
    FALSE,
    TRUE,
    Value,
    elements,
    list_value,
    null_of,
    object_value,
    string,
    tuple_value,
)
from polyarch.golang.strconv import quote
from polyarch.text.nearest import nearest

__all__ = ["Scope", "evaluate"]


class Scope:
    """What names stand for: variables and functions, and those of the scope around it."""

    def __init__(
        self,
        variables: Mapping[str, Value],
        functions: Mapping[str, Function] | None = None,
        parent: Scope | None = None,
    ) -> None:
        self.variables = variables
        self.functions = functions if functions is not None else {}
        self.parent = parent
        self.item: Value | None = None

    def child(self, variables: Mapping[str, Value]) -> Scope:
        """Return a scope within this one."""
        return Scope(variables, None, self)

    def find(self, name: str) -> Value | None:
        """Return a variable's value, None if there is none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables[name]
            scope = scope.parent
        return None

    def all_functions(self) -> Mapping[str, Function]:
        """Return the functions, which are those of the outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope.functions

    def names(self) -> list[str]:
        """Return the names of all variables."""
        inner = list(self.variables)
        return inner if self.parent is None else inner + self.parent.names()


def evaluate(expression: Expression, scope: Scope) -> Value:
    """Return the value. Raises HclError."""
    return _RULES[type(expression)](expression, scope)


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


def _splat_item(_node: SplatItem, scope: Scope) -> Value:
    inner: Scope | None = scope
    while inner is not None:
        if inner.item is not None:
            return inner.item
        inner = inner.parent
    raise AssertionError("an element outside of a splat")


def _splat(node: Splat, scope: Scope) -> Value:
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


# --- conditions and operators ---


def _conditional(node: Conditional, scope: Scope) -> Value:
    branches = [_attempt(node.yes, scope), _attempt(node.no, scope)]
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


def _attempt(expression: Expression, scope: Scope) -> Value | HclError:
    try:
        return evaluate(expression, scope)
    except HclError as error:
        return error


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


def _difference(one: Type, other: Type) -> str:  # noqa: C901 a sentence each
    if one.kind is Kind.OBJECT and other.kind is Kind.OBJECT:
        left, right = one.fields(), other.fields()
        for name, inner in one.attributes:
            if name not in right:
                return f"The 'true' value includes object attribute {quote(name)}, which is absent in the 'false' value"
            if inner != right[name]:
                return f"Type mismatch for object attribute {quote(name)}: {_difference(inner, right[name])}"
        for name in right:
            if name not in left:
                return f"The 'false' value includes object attribute {quote(name)}, which is absent in the 'true' value"
    if one.kind is Kind.TUPLE and other.kind is Kind.TUPLE:
        if len(one.inner) != len(other.inner):
            return f"The 'true' tuple has length {len(one.inner)}, but the 'false' tuple has length {len(other.inner)}"
        for index, (left_type, right_type) in enumerate(zip(one.inner, other.inner, strict=True)):
            if left_type != right_type:
                return (
                    f"Type mismatch for tuple element {index}: {_difference(left_type, right_type)}"
                )
    return f"The 'true' value is {one.friendly()}, but the 'false' value is {other.friendly()}"


_ARITHMETIC: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": modulo,
    "<": less,
    ">": greater,
    "<=": at_most,
    ">=": at_least,
}


def _binary(node: Binary, scope: Scope) -> Value:
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
        found = _attempt(part, scope)
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


def _unary(node: Unary, scope: Scope) -> Value:
    wanted = BOOL if node.operator == "!" else NUMBER
    value = _operand(evaluate(node.operand, scope), wanted, node.operand.at, "unary operand")
    _no_null((value,), node.at)
    if node.operator == "-":
        return negate(value)
    return FALSE if value.raw else TRUE


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


# --- for ---


def _for(node: For, scope: Scope) -> Value:
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


# --- functions ---


def _call(node: Call, scope: Scope) -> Value:
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
        raise HclError("Error in function call", detail, node.name_at) from error


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
        raise HclError("Error in function call", detail, node.name_at)
    failures = []
    for each in node.arguments:
        found = _attempt(each, scope)
        if isinstance(found, Value):
            return found
        failures.append(f"- {found}")
    detail = (
        'Call to function "try" failed: no expression succeeded:\n'
        + "\n".join(failures)
        + "\n\nAt least one expression must produce a successful result."
    )
    raise HclError("Error in function call", detail, node.name_at)


def _can(node: Call, scope: Scope) -> Value:
    _exactly(node, 1, ("expression",))
    return TRUE if isinstance(_attempt(node.arguments[0], scope), Value) else FALSE


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


def _literal(node: Literal, _scope: Scope) -> Value:
    return node.value


def _inner(node: Parens | Wrap, scope: Scope) -> Value:
    return evaluate(node.inner, scope)


_RULES: Mapping[type, Callable[..., Value]] = {
    Literal: _literal,
    Traversal: _traversal,
    Relative: _relative,
    Index: _index,
    SplatItem: _splat_item,
    Splat: _splat,
    Call: _call,
    Conditional: _conditional,
    Binary: _binary,
    Unary: _unary,
    Parens: _inner,
    Wrap: _inner,
    Tuples: _tuples,
    ObjectKey: _object_key,
    Objects: _objects,
    For: _for,
    Template: _template,
    Join: _join,
}
