"""A parsed template, as values. `start` and `end` are places in its text."""

from __future__ import annotations

from dataclasses import dataclass

from polyarch.cli.template.values import Value

__all__ = [
    "Action",
    "Branch",
    "Chain",
    "Command",
    "Field",
    "Function",
    "Jump",
    "Literal",
    "Node",
    "Operand",
    "Pipe",
    "Text",
    "Variable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal(_Placed):
    """A constant. `nil` is one, too."""

    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Field(_Placed):
    """`.A.B` of the current value; no names: the value itself."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(_Placed):
    """`$name.A.B`; `name` has its dollar."""

    name: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(_Placed):
    """`(pipe).A.B`."""

    pipe: Pipe
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function(_Placed):
    """A function's name; it is called with the operands behind it."""

    name: str


Operand = Literal | Field | Variable | Chain | Function


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(_Placed):
    """Operands: a function and its arguments, or one value."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe(_Placed):
    """Commands, each one's result the next one's last argument; then stored in variables."""

    variables: tuple[str, ...]
    declares: bool
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Printed as it stands."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(_Placed):
    """A pipe that is printed, unless it only sets variables."""

    pipe: Pipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch(_Placed):
    """`if`, `with` or `range`."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    orelse: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump(_Placed):
    """`break` or `continue`."""

    kind: str


Node = Text | Action | Branch | Jump
