"""A parsed template, as values. `start` and `end` are places in its text."""

from __future__ import annotations

from polyarch.golang.template.values import Value
from polyarch.record import frozen

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


@frozen
class _Placed:
    start: int
    end: int


@frozen
class Literal(_Placed):
    """A constant. `nil` is one, too."""

    value: Value


@frozen
class Field(_Placed):
    """`.A.B` of the current value; no names: the value itself."""

    names: tuple[str, ...]


@frozen
class Variable(_Placed):
    """`$name.A.B`; `name` has its dollar."""

    name: str
    names: tuple[str, ...]


@frozen
class Chain(_Placed):
    """`(pipe).A.B`."""

    pipe: Pipe
    names: tuple[str, ...]


@frozen
class Function(_Placed):
    """A function's name; it is called with the operands behind it."""

    name: str


Operand = Literal | Field | Variable | Chain | Function


@frozen
class Command(_Placed):
    """Operands: a function and its arguments, or one value."""

    operands: tuple[Operand, ...]


@frozen
class Pipe(_Placed):
    """Commands, each one's result the next one's last argument; then stored in variables."""

    variables: tuple[str, ...]
    declares: bool
    commands: tuple[Command, ...]


@frozen
class Text:
    """Printed as it stands."""

    text: str


@frozen
class Action(_Placed):
    """A pipe that is printed, unless it only sets variables."""

    pipe: Pipe


@frozen
class Branch(_Placed):
    """`if`, `with` or `range`."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    orelse: tuple[Node, ...]


@frozen
class Jump(_Placed):
    """`break` or `continue`."""

    kind: str


Node = Text | Action | Branch | Jump
