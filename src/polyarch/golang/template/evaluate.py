"""Nodes + data -> text. What can't be evaluated is an InputError with line and column, in Go's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polyarch.errors import InputError
from polyarch.golang.template.functions import Definition, FunctionError
from polyarch.golang.template.nodes import (
    Action,
    Branch,
    Chain,
    Command,
    Field,
    Function,
    Jump,
    Literal,
    Node,
    Operand,
    Pipe,
    Text,
    Variable,
)
from polyarch.golang.template.values import (
    MISSING,
    GoValue,
    Value,
    go_text,
    is_list,
    is_true,
    type_name,
)

__all__ = ["Evaluator"]

_LAZY = frozenset({"and", "or"})
_UNSET = object()


class _Break(Exception):
    """{{break}}."""


class _Continue(Exception):
    """{{continue}}."""


class Evaluator:
    """Evaluates one template.

    `record` names the type of the data, whose missing fields are then errors, as those of a Go struct;
    without it they are as those of a map.
    """

    def __init__(
        self, source: str, functions: Mapping[str, Definition], *, record: str = ""
    ) -> None:
        self._source = source
        self._functions = functions
        self._record = record
        self._variables: list[tuple[str, Value]] = []
        self._root: Value = None

    def run(self, nodes: Sequence[Node], data: Value) -> str:
        """Evaluate a whole template."""
        self._root = data
        self._variables = [("$", data)]
        return "".join(self._walk(nodes, data))

    def _error(self, place: Operand | Command | Pipe, reason: str) -> InputError:
        start = place.start
        match place:
            # Go finds a chain where its second name begins.
            case Field() if len(place.names) > 1:
                start += len(place.names[0]) + 1
            case Variable() if place.names:
                start += len(place.name)
            case _:
                pass
        before = self._source[:start]
        line = before.count("\n") + 1
        column = len(before[before.rfind("\n") + 1 :].encode(errors="replace"))
        text = self._source[place.start : place.end].strip()
        return InputError(
            f'template parsing error: template: :{line}:{column}: executing "" at <{text}>: {reason}'
        )

    # Nodes.

    def _action(self, node: Action, dot: Value) -> str:
        value = self._pipe(node.pipe, dot)
        if node.pipe.variables:
            return ""
        return "<no value>" if value is None or value is MISSING else go_text(value)

    def _walk(self, nodes: Sequence[Node], dot: Value) -> Iterator[str]:
        scope = len(self._variables)
        for node in nodes:
            match node:
                case Text():
                    yield node.text
                case Action():
                    yield self._action(node, dot)
                case Branch(kind="range"):
                    yield from self._range(node, dot)
                case Branch():
                    yield from self._branch(node, dot)
                case Jump():
                    raise _Break if node.kind == "break" else _Continue
        del self._variables[scope:]

    def _branch(self, node: Branch, dot: Value) -> Iterator[str]:
        scope = len(self._variables)
        value = self._pipe(node.pipe, dot)
        if is_true(value):
            yield from self._walk(node.body, value if node.kind == "with" else dot)
        else:
            yield from self._walk(node.orelse, dot)
        del self._variables[scope:]

    def _range(self, node: Branch, dot: Value) -> Iterator[str]:
        scope = len(self._variables)
        items = self._items(node.pipe, self._pipe(node.pipe, dot, stores=False))
        for key, value in items:
            self._store_loop(node.pipe, key, value)
            inner = len(self._variables)
            try:
                yield from self._walk(node.body, value)
            except _Continue:
                continue
            except _Break:
                break
            finally:
                del self._variables[inner:]
                if node.pipe.declares:
                    del self._variables[scope:]
        if not items:
            yield from self._walk(node.orelse, dot)

    def _numbers(self, pipe: Pipe, count: int) -> list[tuple[Value, Value]]:
        if len(pipe.variables) > 1:
            reason = f"can't use {count} to iterate over more than one variable"
            raise self._error(pipe.commands[-1], reason)
        return [(number, number) for number in range(count)]

    def _items(self, pipe: Pipe, value: Value) -> list[tuple[Value, Value]]:
        if isinstance(value, GoValue):
            raise self._error(pipe.commands[0], f"range can't iterate over {go_text(value)}")
        if isinstance(value, Mapping):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, Sequence) and not isinstance(value, str):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return self._numbers(pipe, value)
        if value is None or value is MISSING:
            return []
        raise self._error(pipe.commands[0], f"range can't iterate over {go_text(value)}")

    def _store_loop(self, pipe: Pipe, key: Value, value: Value) -> None:
        values = (value,) if len(pipe.variables) == 1 else (key, value)
        for name, item in zip(pipe.variables, values, strict=False):
            self._store(name, item, declares=pipe.declares)

    def _store(self, name: str, value: Value, *, declares: bool) -> None:
        if declares:
            self._variables.append((name, value))
            return
        for index in reversed(range(len(self._variables))):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return

    # Values.

    def _pipe(self, pipe: Pipe, dot: Value, *, stores: bool = True) -> Value:
        final: object = _UNSET
        value: Value = None
        for command in pipe.commands:
            value = self._command(command, dot, () if final is _UNSET else (value,))
            final = value
        if stores:
            for name in pipe.variables:
                self._store(name, value, declares=pipe.declares)
        return value

    def _command(self, command: Command, dot: Value, piped: tuple[Value, ...]) -> Value:
        first, *rest = command.operands
        if isinstance(first, Function):
            return self._call(first, command, rest, dot, piped)
        if rest or piped:
            text = self._source[first.start : first.end]
            if isinstance(first, Literal):
                raise self._error(first, f"can't give argument to non-function {text}")
            value = self._operand(first, dot)
            name = text.rpartition(".")[2]
            if value is not MISSING and self._record and isinstance(first, Field):
                count = len(rest) + len(piped)
                raise self._error(first, f"wrong number of args for {name}: want 0 got {count}")
            raise self._error(first, f"{name} has arguments but cannot be invoked as function")
        if isinstance(first, Literal) and first.value is None:
            raise self._error(first, "nil is not a command")
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Value) -> Value:
        match operand:
            case Literal():
                return operand.value
            case Field():
                return self._fields(operand, dot, operand.names)
            case Variable():
                value = next(v for name, v in reversed(self._variables) if name == operand.name)
                return self._fields(operand, value, operand.names)
            case Chain():
                return self._fields(operand, self._pipe(operand.pipe, dot), operand.names)
            case Function():
                command = Command(start=operand.start, end=operand.end, operands=(operand,))
                return self._call(operand, command, [], dot, ())

    def _struct(self, value: Value) -> str:
        """Return the name of the struct that a value is in Go, "" for a map that has any keys."""
        kind = type_name(value) if isinstance(value, GoValue) else ""
        return self._record or kind if value is self._root else kind

    def _fields(self, place: Operand, value: Value, names: Sequence[str]) -> Value:
        for name in names:
            if value is MISSING:
                return MISSING
            if value is None:
                raise self._error(place, f"nil pointer evaluating interface {{}}.{name}")
            if isinstance(value, GoValue) and value.is_nil:
                raise self._error(place, f"nil pointer evaluating {type_name(value)}.{name}")
            if not isinstance(value, Mapping):
                raise self._error(place, f"can't evaluate field {name} in type {type_name(value)}")
            kind = self._struct(value)
            if name not in value and kind:
                raise self._error(place, f"can't evaluate field {name} in type {kind}")
            value = value.get(name, MISSING)
        return value

    # Calls.

    def _call(
        self,
        function: Function,
        command: Command,
        arguments: Sequence[Operand],
        dot: Value,
        piped: tuple[Value, ...],
    ) -> Value:
        if function.name in _LAZY:
            return self._lazy(function, arguments, dot, piped)
        definition = self._functions[function.name]
        self._check_count(function, definition, len(arguments) + len(piped))
        values: list[Value] = []
        for index, operand in enumerate(arguments):
            value = self._operand(operand, dot)
            values.append(self._checked(operand, definition, index, value))
        for value in piped:
            values.append(self._checked(function, definition, len(values), value))
        try:
            return definition.call(*values)
        except FunctionError as error:
            raise self._error(command, f"error calling {function.name}: {error}") from error

    def _lazy(
        self,
        function: Function,
        arguments: Sequence[Operand],
        dot: Value,
        piped: tuple[Value, ...],
    ) -> Value:
        if not arguments and not piped:
            raise self._error(
                function, f"wrong number of args for {function.name}: want at least 1 got 0"
            )
        value: Value = None
        for operand in arguments:
            value = self._operand(operand, dot)
            if is_true(value) == (function.name == "or"):
                return value
        return piped[0] if piped else value

    def _check_count(self, function: Function, definition: Definition, count: int) -> None:
        wanted = len(definition.types)
        if definition.variadic and count < wanted:
            reason = f"want at least {wanted} got {count}"
        elif not definition.variadic and count != wanted:
            reason = f"want {wanted} got {count}"
        else:
            return
        raise self._error(function, f"wrong number of args for {function.name}: {reason}")

    def _checked(self, place: Operand, definition: Definition, index: int, value: Value) -> Value:
        wanted = definition.types[index] if index < len(definition.types) else ""
        if wanted == "":
            return value
        if wanted == "list":
            return self._checked_list(place, value)
        got = type_name(value)
        if got == wanted:
            return value
        if isinstance(place, Literal):
            name = "integer" if wanted == "int" else wanted
            raise self._error(
                place, f"expected {name}; found {self._source[place.start : place.end]}"
            )
        raise self._error(place, f"wrong type for value; expected {wanted}; got {got}")

    def _checked_list(self, place: Operand, value: Value) -> Value:
        if is_list(value):
            return [item if isinstance(item, str) else go_text(item) for item in _list(value)]
        if isinstance(place, Literal):
            text = self._source[place.start : place.end]
            raise self._error(place, f"can't handle {text} for arg of type []string")
        got = type_name(value)
        raise self._error(place, f"wrong type for value; expected []string; got {got}")


def _list(value: Value) -> Sequence[Value]:
    assert isinstance(value, Sequence)
    return value
