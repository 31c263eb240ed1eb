"""What names stand for: variables of their own scopes, rules of the package, imports, the input.

Variables that are declared (`some`, `:=`, arguments) get a name of their own, `x#2`, so that none hides another; the
others are one variable for their whole rule, `x#`. Whatever is global becomes a path below `data` or `input`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import TypeVar

from polyarch.rego.builtins.table import MISSING
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
    Rule,
    Scalar,
    SetTerm,
    Some,
    SomeIn,
    Statement,
    Term,
    Unify,
    Var,
    With,
)
from polyarch.rego.safety import ROOTS, ordered, require_head, sealed, variables

__all__ = ["Resolver"]

Arity = Callable[[str], int | None]
"""Returns how many arguments a function takes, None for a name that is no function; -1 for any number."""
T = TypeVar("T")


class Resolver:
    """Resolves the rules of a module.

    `globals_` has imports and rules of the package, by the name that they are used by.
    """

    def __init__(self, globals_: Mapping[str, tuple[str, ...]], arity: Arity) -> None:
        self._globals = globals_
        self._arity = arity
        self._scopes: list[dict[str, str]] = []
        self._numbers = count(1)

    def rule(self, rule: Rule) -> Rule:
        """Return a rule with all names resolved, and its bodies in their order. Raises RegoError."""
        self._scopes.append({})
        for name in self._named(rule.arguments or ()):
            self._declare(name)
        arguments = None if rule.arguments is None else self._terms(rule.arguments)
        bound = frozenset(variables(arguments))
        self._scopes.append({})
        body, known = ordered(self._body(rule.body), bound)
        path, value = self._terms(rule.path), self._term(rule.value)
        member = None if rule.member is None else self._term(rule.member)
        require_head((*path, value, *filter(None, (member,))), known, rule.at)
        del self._scopes[-2:]
        return rule._replace(
            path=path,
            arguments=arguments,
            member=sealed(member, known),
            value=sealed(value, known),
            body=body,
            otherwise=None if rule.otherwise is None else self.rule(rule.otherwise),
        )

    # --- scopes ---

    def _declare(self, name: str) -> None:
        if name in ROOTS:
            return
        self._scopes[-1][name] = f"{name}#{next(self._numbers)}"

    def _named(self, node: object) -> Iterable[str]:
        return dict.fromkeys(name for name in variables(node) if name != "_")

    def _variable(self, var: Var) -> Term:
        name = var.name
        if name == "_":
            return Var(f"_#{next(self._numbers)}", var.at)
        for scope in reversed(self._scopes):
            if name in scope:
                return Var(scope[name], var.at)
        if name in ROOTS:
            return var
        if name in self._globals:
            return _path(self._globals[name], var.at)
        return Var(f"{name}#", var.at)

    # --- bodies ---

    def _body(self, body: Body) -> Body:
        return tuple(self._statement(each) for each in body)

    def _statement(self, statement: Statement) -> Statement:
        withs = tuple(self._with(each) for each in statement.withs)
        expression = self._expression(statement.expression)
        return statement._replace(expression=expression, withs=withs)

    def _expression(self, expression: Expression) -> Expression:
        match expression:
            case Is(term=term):
                return self._with_result(term)
            case Assign(left=left, right=right):
                value = self._term(right)
                for name in self._names_of_pattern(left):
                    if name in self._scopes[-1]:
                        raise RegoError(
                            f"var {name} assigned above", left.at, kind="rego_compile_error"
                        )
                    self._declare(name)
                return Assign(self._term(left), value)
            case Unify(left=left, right=right):
                return Unify(self._term(left), self._term(right))
            case Some(names=names):
                for name in names:
                    self._declare(name)
                return expression
            case SomeIn():
                domain = self._term(expression.domain)
                return SomeIn(*self._declared(expression.key, expression.value), domain)
            case Every():
                domain = self._term(expression.domain)
                self._scopes.append({})
                key, value = self._declared(expression.key, expression.value)
                body = self._body(expression.body)
                self._scopes.pop()
                return Every(key, value, domain, body)

    def _names_of_pattern(self, term: Term) -> list[str]:
        if isinstance(term, Var):
            return [term.name] if term.name != "_" else []
        if isinstance(term, Array):
            return [name for each in term.items for name in self._names_of_pattern(each)]
        if isinstance(term, Object):
            return [name for _, each in term.pairs for name in self._names_of_pattern(each)]
        if isinstance(term, Scalar):
            return []
        raise RegoError("cannot assign to this term", term.at, kind="rego_compile_error")

    def _declared(self, key: Term | None, value: Term) -> tuple[Term | None, Term]:
        for each in (key, value):
            if each is not None:
                for name in self._named(each):
                    self._declare(name)
        return None if key is None else self._term(key), self._term(value)

    def _with_result(self, term: Term) -> Expression:
        """Take the last argument of a call for its result, if there is one too many: `split("a,b", ",", parts)`."""
        if isinstance(term, Call):
            name = self._function(term)
            if self._arity(name) == len(term.arguments) - 1:
                *given, result = term.arguments
                return Unify(self._term(term._replace(arguments=tuple(given))), self._term(result))
        return Is(self._term(term))

    def _with(self, each: With) -> With:
        head, *rest = each.target
        target = (*self._globals.get(head, (head,)), *rest)
        if target[0] not in ROOTS:
            name = ".".join(each.target)
            raise RegoError(
                f"with {name}: functions can't be replaced yet, input and data can",
                each.at,
                kind="rego_compile_error",
            )
        return With(target, self._term(each.value), each.at)

    # --- terms ---

    def _terms(self, terms: Iterable[Term]) -> tuple[Term, ...]:
        return tuple(map(self._term, terms))

    def _term(self, term: Term) -> Term:
        found: Term = term
        match term:
            case Var():
                found = self._variable(term)
            case Ref():
                found = self._ref(term)
            case Array() | SetTerm():
                found = term._replace(items=self._terms(term.items))
            case Object(pairs=pairs):
                resolved = [(self._term(key), self._term(each)) for key, each in pairs]
                found = term._replace(pairs=tuple(resolved))
            case Comprehension():
                found = self._comprehension(term)
            case Call():
                found = self._call(term)
        return found

    def _ref(self, term: Ref) -> Ref:
        head, steps = self._term(term.head), self._terms(term.path)
        if isinstance(head, Ref):
            return Ref(head.head, (*head.path, *steps), term.at)
        return Ref(head, steps, term.at)

    def _comprehension(self, term: Comprehension) -> Comprehension:
        self._scopes.append({})
        body = self._body(term.body)
        key = None if term.key is None else self._term(term.key)
        head = self._term(term.head)
        self._scopes.pop()
        return Comprehension(term.kind, key, head, body, term.at)

    def _function(self, call: Call) -> str:
        head, *rest = call.function.split(".")
        if head in self._globals:
            return ".".join([*self._globals[head], *rest])
        return call.function

    def _call(self, call: Call) -> Call:
        name = self._function(call)
        arity, given = self._arity(name), len(call.arguments)
        shown = name.removeprefix("data.")
        if name in MISSING:
            raise RegoError(f"function {name} isn't there yet", call.at, kind="rego_type_error")
        if arity is None:
            raise RegoError(f"undefined function {shown}", call.at, kind="rego_type_error")
        if arity not in {given, -1} and not (name == "in" and given == 3):
            raise RegoError(
                f"{shown}: arity mismatch: {given} given, {arity} wanted",
                call.at,
                kind="rego_type_error",
            )
        return Call(name, self._terms(call.arguments), call.at)


def _path(steps: tuple[str, ...], at: At) -> Ref:
    return Ref(Var(steps[0], at), tuple(Scalar(each, at) for each in steps[1:]), at)
