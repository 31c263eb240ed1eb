"""Expressions of HCL as a tree. Each knows where it stands; names are those of HCL's own syntax tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeAlias

from polyarch.bakefile.hcl.place import Range
from polyarch.bakefile.hcl.values import Value

__all__ = [
    "Attr",
    "Binary",
    "Call",
    "Conditional",
    "Expression",
    "For",
    "Index",
    "IndexStep",
    "Item",
    "Join",
    "Literal",
    "ObjectKey",
    "Objects",
    "Parens",
    "Relative",
    "Splat",
    "SplatItem",
    "Step",
    "Template",
    "Traversal",
    "Tuples",
    "Unary",
    "Wrap",
    "calls",
    "children",
    "keyword",
    "opening_of",
    "start_of",
    "traversals",
]


class Expression(Protocol):
    """What all have in common. A union of them all, each made of others, takes type checkers minutes."""

    @property
    def at(self) -> Range:
        """Where it stands."""


class Attr(NamedTuple):
    """A step `.name`."""

    name: str
    at: Range


class IndexStep(NamedTuple):
    """A step `["name"]` or `[0]`."""

    key: Value
    at: Range


Step: TypeAlias = Attr | IndexStep


class Literal(NamedTuple):
    """A value as it is written."""

    value: Value
    at: Range


class Traversal(NamedTuple):
    """A variable, and what of it."""

    root: str
    steps: tuple[Step, ...]
    root_at: Range
    at: Range


class Relative(NamedTuple):
    """What of the value of another expression."""

    source: Expression
    steps: tuple[Step, ...]
    at: Range


class Index(NamedTuple):
    """An element whose key is worked out; `bracket` is the range of the key with its brackets."""

    collection: Expression
    key: Expression
    bracket: Range
    at: Range


class SplatItem(NamedTuple):
    """The element that a splat is at."""

    at: Range


class Splat(NamedTuple):
    """`each` of every element of `source`, where a `SplatItem` stands for it; `marker` is the range of `[*]`."""

    source: Expression
    each: Expression
    marker: Range
    at: Range


class Call(NamedTuple):
    """A call of a function; with `expands` the elements of the last argument are arguments."""

    name: str
    arguments: tuple[Expression, ...]
    expands: bool
    name_at: Range
    close_at: Range
    at: Range


class Conditional(NamedTuple):
    """`condition ? yes : no`."""

    condition: Expression
    yes: Expression
    no: Expression
    at: Range


class Binary(NamedTuple):
    """Two operands and what is between them."""

    operator: str
    left: Expression
    right: Expression
    at: Range


class Unary(NamedTuple):
    """`!` or `-` and its operand."""

    operator: str
    operand: Expression
    at: Range


class Parens(NamedTuple):
    """An expression in parentheses."""

    inner: Expression
    at: Range


class Tuples(NamedTuple):
    """`[a, b]`."""

    items: tuple[Expression, ...]
    at: Range


class ObjectKey(NamedTuple):
    """The key of an item: a name stands for itself unless it is in parentheses."""

    inner: Expression
    at: Range


class Item(NamedTuple):
    """A key and a value within `{}`."""

    key: Expression
    value: Expression


class Objects(NamedTuple):
    """`{a = b}`."""

    items: tuple[Item, ...]
    at: Range


class For(NamedTuple):
    """`[for k, v in collection : value if condition]`, or with a key `{…}`; "" for no name of the key."""

    key_name: str
    value_name: str
    collection: Expression
    key: Expression | None
    value: Expression
    condition: Expression | None
    groups: bool
    at: Range


class Template(NamedTuple):
    """Texts and expressions one after another."""

    parts: tuple[Expression, ...]
    at: Range


class Join(NamedTuple):
    """The texts that a `for` within a template gives."""

    tuple: Expression
    at: Range


class Wrap(NamedTuple):
    """A template that is one interpolation, and has its value."""

    inner: Expression
    at: Range


def start_of(expression: Expression) -> Range:
    """Return where an expression begins, as hcl's `StartRange` has it, which complaints of whole values name."""
    while isinstance(expression, Binary | Conditional):
        expression = expression.left if isinstance(expression, Binary) else expression.condition
    at = expression.at
    if isinstance(expression, Call):
        return opening_of(expression)
    if isinstance(expression, Splat):
        return expression.marker
    if isinstance(expression, Index):
        at = expression.bracket
    is_bracketed = isinstance(expression, Index | Tuples | Objects | For | Unary)
    return at._replace(end=at.start + 1) if is_bracketed else at


def opening_of(call: Call) -> Range:
    """Return the name of a function that is called, with the parenthesis behind it."""
    at = call.name_at
    return at._replace(end=at.source.text.find("(", at.end) + 1 or at.end)


def keyword(expression: Expression) -> str:
    """Return the bare word that an expression is, "" if it is none."""
    if isinstance(expression, Traversal) and not expression.steps:
        return expression.root
    if isinstance(expression, Literal):
        raw = expression.value.raw
        if raw is None or isinstance(raw, bool):
            return {None: "null", True: "true", False: "false"}[raw]
    return ""


def children(expression: Expression) -> Iterator[tuple[Expression, frozenset[str]]]:
    """Yield the parts of an expression, and which names it defines for each."""
    nothing: frozenset[str] = frozenset()
    if isinstance(expression, For):
        names = frozenset({expression.key_name, expression.value_name} - {""})
        yield expression.collection, nothing
        for inner in (expression.key, expression.value, expression.condition):
            if inner is not None:
                yield inner, names
        return
    if isinstance(expression, ObjectKey):
        if not keyword(expression.inner):
            yield expression.inner, nothing
        return
    for part in _parts(expression):
        yield part, nothing


def _parts(expression: Expression) -> tuple[Expression, ...]:
    fields = _PARTS.get(type(expression), ())
    found: list[Expression] = []
    for name in fields:
        part = getattr(expression, name)
        # Lists of parts are plain tuples, and expressions are named ones.
        found += part if type(part) is tuple else (part,)
    if isinstance(expression, Objects):
        return tuple(part for item in expression.items for part in item)
    return tuple(found)


_PARTS: dict[type, tuple[str, ...]] = {
    Relative: ("source",),
    Index: ("collection", "key"),
    Splat: ("source", "each"),
    Call: ("arguments",),
    Conditional: ("condition", "yes", "no"),
    Binary: ("left", "right"),
    Unary: ("operand",),
    Parens: ("inner",),
    Wrap: ("inner",),
    Join: ("tuple",),
    Tuples: ("items",),
    Template: ("parts",),
}


def traversals(expression: Expression) -> Iterator[Traversal]:
    """Yield the variables that an expression needs, those that it defines itself left out."""
    yield from _traversals(expression, frozenset())


def _traversals(expression: Expression, known: frozenset[str]) -> Iterator[Traversal]:
    if isinstance(expression, Traversal):
        if expression.root not in known:
            yield expression
        return
    for part, names in children(expression):
        yield from _traversals(part, known | names)


def calls(expression: Expression) -> Iterator[str]:
    """Yield the names of the functions that an expression calls."""
    if isinstance(expression, Call):
        yield expression.name
    for part, _names in children(expression):
        yield from calls(part)
