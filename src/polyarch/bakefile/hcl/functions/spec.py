"""What a function of HCL is: its parameters, and what it does with values that fit them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from polyarch.bakefile.hcl.types import DYNAMIC, Type
from polyarch.bakefile.hcl.values import Value

__all__ = ["ArgumentError", "Function", "FunctionError", "Parameter", "function"]


class FunctionError(ValueError):
    """A call that failed, without a place."""


class ArgumentError(FunctionError):
    """A call that failed because of one argument, counted from 0."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class Parameter(NamedTuple):
    """What an argument has to be; null is refused unless `nullable`."""

    name: str
    type: Type = DYNAMIC
    nullable: bool = False


class Function(NamedTuple):
    """A function; `rest` is the parameter of all further arguments."""

    run: Callable[[Sequence[Value]], Value]
    parameters: tuple[Parameter, ...] = ()
    rest: Parameter | None = None

    def call(self, arguments: Sequence[Value]) -> Value:
        """Return the result for arguments whose types fit. Raises FunctionError."""
        for index, each in enumerate(arguments):
            parameter = self.parameter(index)
            if each.is_null and not parameter.nullable:
                raise ArgumentError(index, "argument must not be null")
        return self.run(arguments)

    def parameter(self, index: int) -> Parameter:
        """Return the parameter of an argument."""
        if index < len(self.parameters):
            return self.parameters[index]
        assert self.rest is not None
        return self.rest


def function(
    run: Callable[..., Value], *parameters: Parameter, rest: Parameter | None = None
) -> Function:
    """Make a function of one that takes its arguments one by one."""
    return Function(run=lambda values: run(*values), parameters=parameters, rest=rest)
