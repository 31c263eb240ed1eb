"""Functions that a bake file defines. Source: HCL's extension `userfunc`, and behaviour of buildx."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polyarch.bakefile.hcl.body import Attribute, Block
from polyarch.bakefile.hcl.evaluate import Scope, evaluate
from polyarch.bakefile.hcl.functions.spec import Function, FunctionError, Parameter
from polyarch.bakefile.hcl.nodes import Expression, Tuples, keyword
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.hcl.values import Value, tuple_value
from polyarch.errors import BakeFileError

__all__ = ["user_function"]

_DEEPEST = 100


def user_function(
    block: Block, scope: Scope, prepare: Callable[[Expression, frozenset[str]], None]
) -> Function:
    """Make the function of a block; `prepare` works out what its result refers to. Raises BakeFileError."""
    name = block.labels[0]
    attributes = block.body.attributes
    for wanted in ("result", "params"):
        if wanted not in attributes:
            raise BakeFileError(f"empty {wanted} not allowed for {name}")
    names = _names(attributes["params"])
    variadic = attributes.get("variadic_params")
    rest = _name(variadic.expression) if variadic is not None else ""
    result = attributes["result"].expression
    prepare(result, frozenset({*names, rest} - {""}))
    depth = 0

    def run(values: Sequence[Value]) -> Value:
        nonlocal depth
        variables = dict(zip(names, values[: len(names)], strict=True))
        if rest:
            variables[rest] = tuple_value(values[len(names) :])
        depth += 1
        try:
            if depth > _DEEPEST:
                raise FunctionError(f"{name} calls itself too often")
            return evaluate(result, scope.child(variables))
        finally:
            depth -= 1

    return Function(
        run=run,
        parameters=tuple(Parameter(each) for each in names),
        rest=Parameter(rest) if rest else None,
    )


def _names(attribute: Attribute) -> list[str]:
    if not isinstance(attribute.expression, Tuples):
        raise HclError(
            "Invalid expression", "A static list expression is required.", attribute.expression.at
        )
    return [_name(each) for each in attribute.expression.items]


def _name(expression: Expression) -> str:
    found = keyword(expression)
    if not found:
        detail = "Each parameter name must be an identifier."
        raise HclError("Invalid param element", detail, expression.at)
    return found
