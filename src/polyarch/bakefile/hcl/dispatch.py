"""What names stand for, and which rule evaluates which expression. The rules are in `polyarch.bakefile.hcl.evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polyarch.bakefile.hcl.functions.spec import Function
from polyarch.bakefile.hcl.nodes import Expression
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.hcl.values import Value

__all__ = ["RULES", "Scope", "attempt", "evaluate"]


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


RULES: dict[type, Callable[..., Value]] = {}
"""The rule for each kind of expression."""


def evaluate(expression: Expression, scope: Scope) -> Value:
    """Return the value. Raises HclError."""
    return RULES[type(expression)](expression, scope)


def attempt(expression: Expression, scope: Scope) -> Value | HclError:
    """Return the value, or what is wrong."""
    try:
        return evaluate(expression, scope)
    except HclError as error:
        return error
