"""Bodies as they are written: the statements of rules, comprehensions and `every`."""

from __future__ import annotations

from polyarch.rego.nodes import (
    Assign,
    Body,
    Call,
    Every,
    Expression,
    Is,
    Some,
    SomeIn,
    Statement,
    Term,
    Unify,
    Var,
    With,
)
from polyarch.rego.terms import Terms, dotted

__all__ = ["Bodies"]

_RELATION = 2


class Bodies(Terms):
    """Reads statements."""

    def body(self, closer: str) -> Body:
        """Read statements, one a line or with semicolons between, up to `closer`, and it."""
        with self.deeper():
            found = [self.statement()]
            while not self.skip(closer):
                if not self.skip(";") and not self.next.begins:
                    self.fail(f"expected {closer}, ; or the end of the line")
                if self.skip(closer):
                    break
                found.append(self.statement())
        return tuple(found)

    def statement(self) -> Statement:
        """Read one."""
        at = self.at
        is_negated = self.skip("not")
        expression = self._expression()
        if is_negated and isinstance(expression, Some | SomeIn | Assign):
            self.fail("not can't be in front of some and :=")
        withs = []
        while self.sees("with"):
            withs.append(self._with())
        return Statement(expression, is_negated, tuple(withs), at)

    def _expression(self) -> Expression:
        if self.skip("some"):
            return self._some()
        if self.skip("every"):
            return self._every()
        at = self.at
        left = self.term()
        if self.skip(":="):
            return Assign(left, self.term())
        if self.skip("="):
            return Unify(left, self.term())
        if self.skip(","):
            value = self.term(_RELATION)
            self.expect("in")
            return Is(Call("in", (left, value, self.term(_RELATION)), at))
        return Is(left)

    def _pair(self) -> list[Term]:
        found = [self.term(_RELATION)]
        while self.skip(","):
            found.append(self.term(_RELATION))
        return found

    def _some(self) -> Some | SomeIn:
        terms = self._pair()
        if self.sees("in"):
            if len(terms) > 2:
                self.fail("some has a key and a value at most")
            self.take()
            return SomeIn(terms[0] if len(terms) == 2 else None, terms[-1], self.term(_RELATION))
        names = [each.name for each in terms if isinstance(each, Var)]
        if len(names) < len(terms):
            self.fail("some without in has names only")
        return Some(tuple(names))

    def _every(self) -> Every:
        terms = self._pair()
        if len(terms) > 2:
            self.fail("every has a key and a value at most")
        self.expect("in")
        domain = self.term(_RELATION)
        self.expect("{")
        return Every(terms[0] if len(terms) == 2 else None, terms[-1], domain, self.body("}"))

    def _with(self) -> With:
        at = self.at
        self.expect("with")
        target = dotted(self._postfix(self._primary()))
        if not target:
            self.fail("with has a name of input, of data or of a function")
        self.expect("as")
        return With(tuple(target.split(".")), self.term(), at)
