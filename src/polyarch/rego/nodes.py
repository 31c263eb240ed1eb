"""What modules consist of."""

from __future__ import annotations

from typing import NamedTuple

from polyarch.rego.faults import At

__all__ = [
    "Array", "Assign", "Body", "Call", "Comprehension", "Every", "Expression", "Import", "Is", "Module", "Object",
    "Ref", "Rule", "Scalar", "SetTerm", "Some", "SomeIn", "Statement", "Term", "Unify", "Var", "With",
]  # fmt: skip


class Scalar(NamedTuple):
    """A value as it is written."""

    value: object
    at: At


class Var(NamedTuple):
    """A name."""

    name: str
    at: At


class Ref(NamedTuple):
    """A path below something: `input.image["labels"][name]`."""

    head: Term
    path: tuple[Term, ...]
    at: At


class Array(NamedTuple):
    """`[a, b]`."""

    items: tuple[Term, ...]
    at: At


class SetTerm(NamedTuple):
    """`{a, b}`."""

    items: tuple[Term, ...]
    at: At


class Object(NamedTuple):
    """`{a: b}`."""

    pairs: tuple[tuple[Term, Term], ...]
    at: At


class Comprehension(NamedTuple):
    """`[head | body]`, `{head | body}` or `{key: head | body}`; `kind` is array, set or object."""

    kind: str
    key: Term | None
    head: Term
    body: Body
    at: At


class Call(NamedTuple):
    """A function with what it is given; operators are functions by their signs."""

    function: str
    arguments: tuple[Term, ...]
    at: At


Term = Scalar | Var | Ref | Array | SetTerm | Object | Comprehension | Call


class Is(NamedTuple):
    """A term that has to be there, and not false."""

    term: Term


class Unify(NamedTuple):
    """`a = b`."""

    left: Term
    right: Term


class Assign(NamedTuple):
    """`a := b`."""

    left: Term
    right: Term


class Some(NamedTuple):
    """`some a, b`."""

    names: tuple[str, ...]


class SomeIn(NamedTuple):
    """`some key, value in domain`."""

    key: Term | None
    value: Term
    domain: Term


class Every(NamedTuple):
    """`every key, value in domain { body }`."""

    key: Term | None
    value: Term
    domain: Term
    body: Body


Expression = Is | Unify | Assign | Some | SomeIn | Every


class With(NamedTuple):
    """`with target as value`: a path below `input` or `data`, or a function."""

    target: tuple[str, ...]
    value: Term
    at: At


class Statement(NamedTuple):
    """One line of a body."""

    expression: Expression
    is_negated: bool
    withs: tuple[With, ...]
    at: At


Body = tuple[Statement, ...]


class Rule(NamedTuple):
    """A rule: `name` with the path below it, and what it is worth if its body holds.

    `arguments` are those of a function, None for what is none; `member` is that of a set (`contains`).
    """

    name: str
    path: tuple[Term, ...]
    arguments: tuple[Term, ...] | None
    member: Term | None
    value: Term
    body: Body
    is_default: bool
    otherwise: Rule | None
    at: At


class Import(NamedTuple):
    """`import path as alias`."""

    path: tuple[str, ...]
    alias: str
    at: At


class Module(NamedTuple):
    """A file of a policy."""

    name: str
    package: tuple[str, ...]
    imports: tuple[Import, ...]
    rules: tuple[Rule, ...]
