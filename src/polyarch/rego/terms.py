"""Terms as they are written: literals, paths, calls, operators, comprehensions."""

from __future__ import annotations

from polyarch.rego.faults import At, RegoError
from polyarch.rego.lexer import KEYWORDS
from polyarch.rego.nodes import (
    Array,
    Body,
    Call,
    Comprehension,
    Object,
    Ref,
    Scalar,
    SetTerm,
    Term,
    Var,
)
from polyarch.rego.reader import Reader

__all__ = ["Terms", "dotted"]

_BINDING = {
    "==": 2, "!=": 2, "<": 2, "<=": 2, ">": 2, ">=": 2, "|": 3, "&": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6,
}  # fmt: skip
_MEMBER, _OR, _TIGHTER_THAN_OR = 1, 3, 4
_CONSTANTS = {"true": True, "false": False, "null": None}
_MOST_RETRIES = 200
_CLOSERS = {"array": "]", "set": "}", "object": "}"}


class Terms(Reader):
    """Reads terms."""

    _retries = 0

    def body(self, closer: str) -> Body:
        """Read statements up to `closer`, and it."""
        raise NotImplementedError

    def term(self, loosest: int = _MEMBER) -> Term:
        """Read a term whose operators bind as strongly as `loosest`, or more strongly."""
        with self.deeper():
            return self._infix(loosest)

    def _infix(self, loosest: int) -> Term:
        left = self._postfix(self._primary())
        while True:
            at = self.at
            sign = str(self.next.value) if self.next.kind == "sign" else ""
            binding = _BINDING.get(sign, 0)
            if binding and binding >= loosest:
                self.take()
                left = Call(sign, (left, self.term(binding + 1)), at)
            elif loosest <= _MEMBER and self.skip("in"):
                left = Call("in", (left, self.term(_MEMBER + 1)), at)
            else:
                return left

    def _primary(self) -> Term:
        at, token = self.at, self.next
        if token.kind in {"number", "text"}:
            return Scalar(self.take().value, at)
        if token.kind == "name":
            return self._word(at)
        if self.skip("-"):
            if self.next.kind != "number":
                self.fail("expected a number")
            value = self.take().value
            assert isinstance(value, int | float)
            return Scalar(-value, at)
        if self.skip("("):
            return self._in_parentheses(at)
        if self.skip("["):
            return self._array(at)
        if self.skip("{"):
            return self._braces(at)
        raise self.fault("expected a term")

    def _word(self, at: At) -> Term:
        word = str(self.next.value)
        if word in _CONSTANTS:
            self.take()
            return Scalar(_CONSTANTS[word], at)
        if word in KEYWORDS:
            self.fail(f"{word} can't be a name")
        return Var(self.name(), at)

    def _in_parentheses(self, at: At) -> Term:
        inner = self.term()
        if self.skip(","):
            value = self.term(_MEMBER + 1)
            self.expect("in")
            inner = Call("in", (inner, value, self.term(_MEMBER + 1)), at)
        self.expect(")")
        return inner

    # --- what follows a term ---

    def _postfix(self, term: Term) -> Term:
        while not self.next.is_apart:
            at = self.at
            if self.skip("."):
                if self.next.kind != "name":
                    self.fail("expected a name")
                term = _below(term, Scalar(self.take().value, at))
            elif self.skip("["):
                step = self.term()
                self.expect("]")
                term = _below(term, step)
            elif self.sees("(") and (name := dotted(term)):
                self.take()
                term = Call(name, self.arguments(), term.at)
            else:
                break
        return term

    def arguments(self) -> tuple[Term, ...]:
        """Read what is in parentheses, which are open."""
        return self._listed(")")

    def _listed(self, closer: str, *first: Term) -> tuple[Term, ...]:
        found = list(first)
        while not self.skip(closer):
            if found:
                self.expect(",")
                if self.skip(closer):
                    break
            found.append(self.term())
        return tuple(found)

    # --- collections and comprehensions ---

    def _array(self, at: At) -> Term:
        if self.skip("]"):
            return Array((), at)
        first = self._first("array", at)
        return first if isinstance(first, Comprehension) else Array(self._listed("]", first), at)

    def _braces(self, at: At) -> Term:
        if self.skip("}"):
            return Object((), at)
        first = self._first("set", at)
        if isinstance(first, Comprehension) and first.at == at:
            return first
        if not self.sees(":"):
            return SetTerm(self._listed("}", first), at)
        self.take()
        value = self._first("object", at, key=first)
        return (
            value
            if isinstance(value, Comprehension) and value.at == at
            else self._object(first, value, at)
        )

    def _first(self, kind: str, at: At, key: Term | None = None) -> Term:
        """Read a first element, or the comprehension that it turns out to be the head of."""
        start = self.position
        head = self.term(_TIGHTER_THAN_OR)
        if not self.sees("|"):
            self.position = start
            return self.term()
        behind = self.position
        self.take()
        try:
            body = self.body(_CLOSERS[kind])
        except RegoError:
            # An `or` of sets after all, unless that isn't one either.
            self._retries += 1
            if self._retries > _MOST_RETRIES:
                raise
            self.position = start
            term = self.term()
            if not self.sees(",", ":", _CLOSERS[kind]):
                self.position = behind + 1
                self.body(_CLOSERS[kind])
            return term
        return Comprehension(kind, key, head, body, at)

    def _object(self, key: Term, value: Term, at: At) -> Object:
        pairs = [(key, value)]
        while not self.skip("}"):
            self.expect(",")
            if self.skip("}"):
                break
            key = self.term()
            self.expect(":")
            pairs.append((key, self.term()))
        return Object(tuple(pairs), at)


def _below(term: Term, step: Term) -> Ref:
    if isinstance(term, Ref):
        return Ref(term.head, (*term.path, step), term.at)
    return Ref(term, (step,), term.at)


def dotted(term: Term) -> str:
    """Return the name that a term is written as, `time.now_ns`; "" for one that is no name."""
    if isinstance(term, Var):
        return term.name
    if not isinstance(term, Ref) or not isinstance(term.head, Var):
        return ""
    steps = [each.value for each in term.path if isinstance(each, Scalar)]
    if len(steps) < len(term.path):
        return ""
    return ".".join([term.head.name, *map(str, steps)])
