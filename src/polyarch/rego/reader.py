"""What all readers of a module share: where in its tokens they are, and how deep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from polyarch.graph.location import SourceText
from polyarch.rego.faults import At, RegoError
from polyarch.rego.lexer import KEYWORDS, Token, tokens

__all__ = ["Reader"]

_DEEPEST = 60


class Reader:
    """A module's tokens, and the next of them."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.position = 0
        self._tokens = tokens(source)
        self._depth = 0

    @property
    def next(self) -> Token:
        """The next token."""
        return self._tokens[self.position]

    @property
    def at(self) -> At:
        """Where the next token is."""
        return At(self.source, self.next.offset)

    def sees(self, *values: str) -> bool:
        """Tell whether a sign or a word comes next."""
        token = self.next
        return token.kind in {"sign", "name"} and token.value in values

    def take(self) -> Token:
        """Return the next token, and go on."""
        token = self.next
        if token.kind != "end":
            self.position += 1
        return token

    def skip(self, value: str) -> bool:
        """Go on if `value` comes next."""
        if self.sees(value):
            self.position += 1
            return True
        return False

    def expect(self, value: str) -> None:
        """Go on if `value` comes next. Raises RegoError otherwise."""
        if not self.skip(value):
            self.fail(f"expected {value}")

    def name(self) -> str:
        """Read a name that isn't a word of the language. Raises RegoError."""
        token = self.next
        if token.kind != "name" or token.value in KEYWORDS:
            self.fail("expected a name")
        return str(self.take().value)

    def fail(self, message: str) -> NoReturn:
        """Raise RegoError at the next token."""
        raise self.fault(message)

    def fault(self, message: str) -> RegoError:
        """Return the error for the next token."""
        token = self.next
        seen = "end of file" if token.kind == "end" else repr(token.value)
        return RegoError(f"unexpected {seen}: {message}", self.at)

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Be one level deeper. Raises RegoError beyond what anybody writes."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RegoError(f"nested deeper than {_DEEPEST} levels", self.at)
        try:
            yield
        finally:
            self._depth -= 1
