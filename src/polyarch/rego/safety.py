"""The order in which the statements of a body are evaluated: what a name is, is found out before it is used.

A statement *needs* names that it can't do without, and *gives* those that are known when it has been evaluated: `x` of
`x := f(y)`, `i` of `input.list[i]`. The first one that needs nothing unknown comes next. A body within a term is a
closure: it needs those of its names that stand outside of it as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from polyarch.rego.faults import At, RegoError
from polyarch.rego.nodes import (
    Array,
    Assign,
    Body,
    Call,
    Comprehension,
    Every,
    Expression,
    Is,
    Object,
    Ref,
    Scalar,
    SetTerm,
    Some,
    SomeIn,
    Statement,
    Term,
    Unify,
    Var,
)

__all__ = ["ROOTS", "ordered", "require", "require_head", "sealed", "variables"]

ROOTS = frozenset({"input", "data"})
_NONE: frozenset[str] = frozenset()
Names = frozenset[str]
N = TypeVar("N")


class _Flow(NamedTuple):
    needs: Names = _NONE
    gives: Names = _NONE

    def __or__(self, other: _Flow) -> _Flow:
        return _Flow(self.needs | other.needs, self.gives | other.gives)


def variables(node: object) -> Iterator[str]:
    """Give the names of all variables in a node, in bodies within it as well."""
    if isinstance(node, Var):
        if node.name not in ROOTS:
            yield node.name
    elif isinstance(node, tuple) and not isinstance(node, At | Scalar):
        for each in node:
            yield from variables(each)


def ordered(body: Body, bound: Iterable[str]) -> tuple[Body, Names]:
    """Return the statements in their order, and what is known after them. Raises RegoError for what never is."""
    known = frozenset(bound)
    outside = known.union(*(_open(each) for each in body))
    waiting = list(body)
    found: list[Statement] = []
    while waiting:
        flows = [_statement(each, known, outside) for each in waiting]
        number = next((place for place, flow in enumerate(flows) if flow.needs <= known), -1)
        if number < 0:
            require(flows[0].needs, known, waiting[0].at)
        found.append(sealed(waiting.pop(number), known))
        known |= flows[number].gives
    return tuple(found), known


def require(needs: Iterable[str], known: Names, at: At) -> None:
    """Raise RegoError for a name that isn't known."""
    missing = sorted(frozenset(needs) - known)
    if missing:
        name = missing[0].partition("#")[0]
        raise RegoError(f"var {name} is unsafe", at, kind="rego_unsafe_var_error")


def require_head(terms: Iterable[Term], known: Names, at: At) -> None:
    """Raise RegoError for a name in a rule's head that neither its body nor the head itself finds out."""
    flow = _all(terms, _NONE)
    require(flow.needs, known | flow.gives, at)


def sealed(node: N, known: Names) -> N:
    """Return a node whose bodies are in their order, given what is known around them."""
    if isinstance(node, Comprehension):
        body, inside = ordered(node.body, known)
        require(_open_of((node.key, node.head)), inside, node.at)
        return node._replace(
            body=body, key=sealed(node.key, inside), head=sealed(node.head, inside)
        )
    if isinstance(node, Every):
        within = known | frozenset(variables((node.key, node.value)))
        body, _ = ordered(node.body, within)
        return node._replace(domain=sealed(node.domain, known), body=body)
    if isinstance(node, tuple) and not isinstance(node, At | Scalar | Var):
        parts = [sealed(each, known) for each in node]
        made: N = type(node)(*parts) if hasattr(node, "_fields") else type(node)(parts)
        return made
    return node


def _open(statement: Statement) -> Names:
    """Return the names that stand in a statement outside of its closures."""
    flow = _expression(statement.expression, _NONE, _NONE)
    for each in statement.withs:
        flow |= _term(each.value, _NONE)
    return flow.needs | flow.gives


def _open_of(terms: Iterable[Term | None]) -> Names:
    flow = _Flow()
    for each in terms:
        if each is not None:
            flow |= _term(each, _NONE)
    return flow.needs


def _statement(statement: Statement, known: Names, outside: Names) -> _Flow:
    flow = _expression(statement.expression, known, outside)
    if statement.is_negated:
        flow = _Flow(flow.needs | flow.gives, _NONE)
    for each in statement.withs:
        more = _term(each.value, outside)
        flow = _Flow(flow.needs | more.needs, flow.gives | more.gives)
    return flow


def _expression(expression: Expression, known: Names, outside: Names) -> _Flow:
    match expression:
        case Is(term=term):
            return _term(term, outside)
        case Assign(left=left, right=right):
            return _term(right, outside) | _term(left, outside, is_pattern=True)
        case Unify(left=left, right=right):
            return _unified(left, right, known, outside)
        case Some():
            return _Flow()
        case SomeIn(key=key, value=value, domain=domain):
            flow = _term(domain, outside) | _term(value, outside, is_pattern=True)
            return flow | _term(key, outside, is_pattern=True) if key is not None else flow
        case Every(key=key, value=value, domain=domain, body=body):
            own = frozenset(variables((key, value)))
            inside = frozenset(variables(body)) - own
            return _term(domain, outside) | _Flow(inside & outside)


def _unified(left: Term, right: Term, known: Names, outside: Names) -> _Flow:
    if isinstance(left, Array) and isinstance(right, Array) and len(left.items) == len(right.items):
        flow = _Flow()
        for one, other in zip(left.items, right.items, strict=True):
            flow |= _unified(one, other, known | flow.gives, outside)
        return flow
    ways = [
        _term(one, outside) | _term(other, outside, is_pattern=True)
        for one, other in ((right, left), (left, right))
    ]
    return min(ways, key=lambda flow: len(flow.needs - known))


def _term(term: Term, outside: Names, *, is_pattern: bool = False) -> _Flow:
    flow = _Flow()
    match term:
        case Var(name=name) if name not in ROOTS:
            names = frozenset({name})
            flow = _Flow(gives=names) if is_pattern else _Flow(needs=names)
        case Ref(head=head, path=path):
            flow = _term(head, outside) | _all(path, outside, is_pattern=True)
        case Array(items=items):
            flow = _all(items, outside, is_pattern=is_pattern)
        case SetTerm(items=items) | Call(arguments=items):
            flow = _all(items, outside)
        case Object(pairs=pairs):
            keys = _all((key for key, _ in pairs), outside)
            flow = keys | _all((each for _, each in pairs), outside, is_pattern=is_pattern)
        case Comprehension():
            flow = _Flow(frozenset(variables(term)) & outside)
    return flow


def _all(terms: Iterable[Term], outside: Names, *, is_pattern: bool = False) -> _Flow:
    flow = _Flow()
    for each in terms:
        flow |= _term(each, outside, is_pattern=is_pattern)
    return flow
