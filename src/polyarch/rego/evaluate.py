"""Answers of a program: terms, statements and bodies, given what variables are known.

Everything may have several solutions, one after another: a term has values, each with the variables it found out, a body
has the variables after it. What is undefined has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from polyarch.rego.builtins.table import call_builtin, shown
from polyarch.rego.context import Context
from polyarch.rego.faults import At, RegoError
from polyarch.rego.gather import listed, member_of, object_of
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
from polyarch.rego.safety import ROOTS
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import Obj, SetOf, equal

__all__ = ["Env", "Found", "below", "combinations", "is_known", "match", "solutions", "values"]

Env = Mapping[str, object]
Found = Iterator[tuple[object, Env]]


# --- bodies ---


def solutions(context: Context, body: Body, env: Env) -> Sequence[Env]:
    """Give the variables after a body, for each way in which it holds. Raises RegoError, Wanted."""
    found: Sequence[Env] = [env]
    for statement in body:
        found = [after for each in found for after in _statement(context, statement, each)]
        if not found:
            break
    return found


def _statement(context: Context, statement: Statement, env: Env) -> Iterator[Env]:
    context.budget.spend(statement.at)
    inner = context
    if statement.withs:
        changes = []
        for each in statement.withs:
            for value, _ in values(context, each.value, env):
                changes.append((each.target, value))
                break
            else:
                return
        inner = context.changed(changes)
    found = _expression(inner, statement.expression, env)
    if not statement.is_negated:
        yield from found
    elif next(found, None) is None:
        yield env


def _expression(context: Context, expression: Expression, env: Env) -> Iterator[Env]:
    match expression:
        case Is(term=term):
            for value, after in values(context, term, env):
                if value is not False:
                    yield after
        case Unify(left=left, right=right) | Assign(left=left, right=right):
            yield from _unify(context, left, right, env)
        case Some():
            yield env
        case SomeIn(key=key, value=value, domain=domain):
            yield from _members(context, (key, value, domain), env)
        case Every():
            if _holds_for_all(context, expression, env):
                yield env
        case _:
            assert_never(expression)


def _members(context: Context, parts: tuple[Term | None, Term, Term], env: Env) -> Iterator[Env]:
    key, value, domain = parts
    for whole, after in values(context, domain, env):
        for name, member in listed(whole):
            for bound in [after] if key is None else match(context, key, name, after):
                yield from match(context, value, member, bound)


def _holds_for_all(context: Context, every: Every, env: Env) -> bool:
    for whole, after in values(context, every.domain, env):
        if not isinstance(whole, tuple | Obj | SetOf):
            return False
        for name, member in listed(whole):
            bounds = [after] if every.key is None else match(context, every.key, name, after)
            inside = [
                each for bound in bounds for each in match(context, every.value, member, bound)
            ]
            if not any(solutions(context, every.body, each) for each in inside):
                return False
        return True
    return False


# --- unification ---


def is_known(term: Term, env: Env) -> bool:
    """Tell whether a term has no variable, at its own level, that is still to be found out."""
    match term:
        case Var(name=name):
            return name in env or name in ROOTS
        case Array(items=items):
            return all(is_known(each, env) for each in items)
        case Object(pairs=pairs):
            return all(is_known(each, env) for _, each in pairs)
    return True


def _unify(context: Context, left: Term, right: Term, env: Env) -> Iterator[Env]:
    if isinstance(left, Array) and isinstance(right, Array):
        if len(left.items) == len(right.items):
            yield from _unify_all(context, list(zip(left.items, right.items, strict=True)), env)
    elif is_known(left, env) and not is_known(right, env):
        for value, after in values(context, left, env):
            yield from match(context, right, value, after)
    else:
        for value, after in values(context, right, env):
            yield from match(context, left, value, after)


def _unify_all(context: Context, pairs: list[tuple[Term, Term]], env: Env) -> Iterator[Env]:
    found = [env]
    for left, right in pairs:
        found = [after for each in found for after in _unify(context, left, right, each)]
    yield from found


def match(context: Context, pattern: Term, value: object, env: Env) -> Iterator[Env]:
    """Give the variables after a pattern was laid upon a value."""
    match pattern:
        case Var(name=name) if name not in ROOTS:
            if name not in env:
                yield {**env, name: value}
            elif equal(env[name], value):
                yield env
        case Array() | Object() if not is_known(pattern, env):
            yield from _match_parts(context, pattern, value, env)
        case _:
            for other, after in values(context, pattern, env):
                if equal(other, value):
                    yield after


def _match_parts(
    context: Context, pattern: Array | Object, value: object, env: Env
) -> Iterator[Env]:
    if isinstance(pattern, Object):
        if isinstance(value, Obj) and len(value) == len(pattern.pairs):
            yield from _match_object(context, pattern.pairs, value, env)
    elif isinstance(value, tuple) and len(value) == len(pattern.items):
        found = [env]
        for each, member in zip(pattern.items, value, strict=True):
            found = [after for one in found for after in match(context, each, member, one)]
        yield from found


def _match_object(
    context: Context, pairs: tuple[tuple[Term, Term], ...], value: Obj, env: Env
) -> Iterator[Env]:
    found = [env]
    for key, each in pairs:
        found = [
            after
            for one in found
            for name, known in values(context, key, one)
            if value.has(name)
            for after in match(context, each, value.get(name), known)
        ]
    yield from found


# --- terms ---


def values(context: Context, term: Term, env: Env) -> Found:
    """Give the values of a term, each with the variables that it found out. Raises RegoError, Wanted."""
    match term:
        case Scalar(value=value):
            yield value, env
        case Var(name=name):
            yield from _variable(context, name, term.at, env)
        case Ref():
            yield from _reference(context, term, env)
        case Array() | SetTerm() | Object():
            yield from _collections(context, term, env)
        case Comprehension():
            yield _comprehension(context, term, env), env
        case Call():
            yield from _call(context, term, env)
        case _:
            assert_never(term)


def _collections(context: Context, term: Array | SetTerm | Object, env: Env) -> Found:
    if isinstance(term, Object):
        flat = tuple(each for pair in term.pairs for each in pair)
        for found, after in combinations(context, flat, env):
            yield Obj(zip(found[::2], found[1::2], strict=True)), after
        return
    for found, after in combinations(context, term.items, env):
        yield found if isinstance(term, Array) else SetOf(found), after


def _variable(context: Context, name: str, at: At, env: Env) -> Found:
    if name == "input":
        if context.given is not UNDEFINED:
            yield context.given, env
    elif name == "data":
        yield from context.documents.below(context, (), (), env)
    elif name in env:
        yield env[name], env
    else:
        raise RegoError(f"var {name.partition('#')[0]} is unsafe", at, kind="rego_unsafe_var_error")


def combinations(
    context: Context, terms: tuple[Term, ...], env: Env
) -> Iterator[tuple[tuple[object, ...], Env]]:
    """Give the values of several terms, all combinations of them."""
    found: list[tuple[tuple[object, ...], Env]] = [((), env)]
    for term in terms:
        found = [
            ((*before, value), after)
            for before, known in found
            for value, after in values(context, term, known)
        ]
    yield from found


def _comprehension(context: Context, term: Comprehension, env: Env) -> object:
    terms = (term.head,) if term.key is None else (term.key, term.head)
    found: list[tuple[object, ...]] = []
    for after in solutions(context, term.body, env):
        for parts, _ in combinations(context, terms, after):
            found.append(parts)
            context.budget.spend(term.at)
    if term.key is not None:
        return object_of(found, term.at)
    heads = tuple(parts[0] for parts in found)
    return heads if term.kind == "array" else SetOf(heads)


# --- paths ---


def _reference(context: Context, ref: Ref, env: Env) -> Found:
    context.budget.spend(ref.at)
    if isinstance(ref.head, Var) and ref.head.name == "data":
        yield from context.documents.below(context, (), ref.path, env)
        return
    for value, after in values(context, ref.head, env):
        yield from below(context, value, ref.path, after)


def below(context: Context, value: object, steps: tuple[Term, ...], env: Env) -> Found:
    """Give what a path leads to in a value."""
    if not steps:
        yield value, env
        return
    step, rest = steps[0], steps[1:]
    if is_known(step, env):
        for name, after in values(context, step, env):
            found = member_of(value, name)
            if found is not UNDEFINED:
                yield from below(context, found, rest, after)
        return
    for name, member in listed(value):
        context.budget.spend(step.at)
        for after in match(context, step, name, env):
            yield from below(context, member, rest, after)


# --- calls ---


def _call(context: Context, call: Call, env: Env) -> Found:
    context.budget.spend(call.at)
    if call.function == "print":
        _print(context, call, env)
        yield True, env
        return
    for arguments, after in combinations(context, call.arguments, env):
        value = _result(context, call, arguments)
        if value is not UNDEFINED:
            yield context.budget.check(value, call.at), after


def _result(context: Context, call: Call, arguments: tuple[object, ...]) -> object:
    name = call.function
    if name.startswith("data."):
        return context.documents.call(context, tuple(name.split(".")[1:]), arguments, call.at)
    if name in context.host:
        return context.host[name][1](*arguments)
    return call_builtin(name, arguments)


def _print(context: Context, call: Call, env: Env) -> None:
    if context.prints is None:
        return
    words = []
    for each in call.arguments:
        value, _ = next(values(context, each, env), (UNDEFINED, env))
        words.append("<undefined>" if value is UNDEFINED else shown(value))
    context.prints(call.at, " ".join(words))
