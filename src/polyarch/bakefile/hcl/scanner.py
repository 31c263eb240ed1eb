"""Words of HCL: a text -> tokens, one at a time, as a parser asks for them.

Whether a line's end is a token depends on where the parser is: within parentheses and brackets it is a blank.
Texts in quotes are no tokens, as expressions stand within them: see `polyarch.bakefile.hcl.templates`.
Source: HCL's native syntax specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.graph.location import SourceText
from polyarch.pattern import pattern

__all__ = ["Scanner", "Token", "TokenKind"]

_BLANK = pattern(r"(?:[ \t]+|/\*.*?\*/|(?:#|//)[^\n]*|\r(?=\n))*", 16)
_BLANK_LINES = pattern(r"(?:[ \t\r\n]+|/\*.*?\*/|(?:#|//)[^\n]*)*", 16)
_NUMBER = pattern(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HEREDOC = pattern(r"<<(-?)([^\W\d][\w-]*)[ \t]*\r?\n")
_OPERATOR = pattern(r"\.\.\.|~\}|==|!=|<=|>=|&&|\|\||=>|::|[{}\[\]()=<>!?:,.+\-*/%]")
_UNUSED = {
    "&": 'Did you mean logical AND ("&&")?',
    "|": 'Did you mean logical OR ("||")?',
    "^": "There is no operator of that name.",
    "~": "There is no operator of that name.",
    "`": "Texts are written in double quotes, or as heredocs.",
    "'": 'Single quotes are not valid. Use double quotes (") to enclose strings.',
    ";": 'The ";" character is not valid. Use newlines to separate arguments and blocks, and commas to separate items in collection values.',
}
_DEEPEST = 50


class TokenKind(StrEnum):
    """What sort of word."""

    IDENT = "identifier"
    NUMBER = "number"
    OPERATOR = "operator"
    NEWLINE = "newline"
    END = "end of file"
    QUOTE = "quote"
    HEREDOC = "heredoc"


class Token(NamedTuple):
    """A word: `start` and `end` are places in the scanner's text."""

    kind: TokenKind
    text: str
    start: int
    end: int

    def is_operator(self, *texts: str) -> bool:
        """Tell whether it is one of these operators."""
        return self.kind is TokenKind.OPERATOR and self.text in texts

    def is_word(self, text: str) -> bool:
        """Tell whether it is this identifier."""
        return self.kind is TokenKind.IDENT and self.text == text


class Scanner:
    """Yields the tokens of `text`, which begins at character `base` of `source`."""

    def __init__(self, source: SourceText, text: str | None = None, base: int = 0) -> None:
        self.source = source
        self.text = source.text if text is None else text
        self.base = base
        self.position = 0
        self._newlines = [True]
        self._depth = 0

    def range(self, start: int, end: int) -> Range:
        """Return a part of the text as a place."""
        return Range(self.source, self.base + start, self.base + end)

    def at(self, token: Token) -> Range:
        """Return a token's place."""
        return self.range(token.start, token.end)

    @contextmanager
    def newlines(self, *, count: bool) -> Iterator[None]:
        """Take line ends for tokens, or for blanks, for a while. Raises HclError if that is nested too deep."""
        if len(self._newlines) > _DEEPEST:
            where = self.range(self.position, self.position + 1)
            raise HclError("Invalid expression", "Expressions are nested too deep.", where)
        self._newlines.append(count)
        try:
            yield
        finally:
            self._newlines.pop()

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Count how deep expressions are. Raises HclError if that is too deep."""
        self._depth += 1
        if self._depth > _DEEPEST:
            where = self.range(self.position, self.position + 1)
            raise HclError("Invalid expression", "Expressions are nested too deep.", where)
        try:
            yield
        finally:
            self._depth -= 1

    def peek(self) -> Token:
        """Return the next token and leave it. Raises HclError for characters that no token begins with."""
        blank = _BLANK if self._newlines[-1] else _BLANK_LINES
        match = blank.match(self.text, self.position)
        start = match.end() if match else self.position
        if start >= len(self.text):
            return Token(TokenKind.END, "", start, start)
        return self._token(start)

    def _token(self, start: int) -> Token:
        char = self.text[start]
        if char == "\n":
            return Token(TokenKind.NEWLINE, "\n", start, start + 1)
        if char == '"':
            return Token(TokenKind.QUOTE, '"', start, start + 1)
        if char.isidentifier():
            end = start + 1
            while end < len(self.text) and self._continues(self.text[end]):
                end += 1
            return Token(TokenKind.IDENT, self.text[start:end], start, end)
        for kind, expression in (
            (TokenKind.NUMBER, _NUMBER),
            (TokenKind.HEREDOC, _HEREDOC),
            (TokenKind.OPERATOR, _OPERATOR),
        ):
            if match := expression.match(self.text, start):
                return Token(kind, match.group(), start, match.end())
        detail = _UNUSED.get(char, "This character is not used within the language.")
        raise HclError("Invalid character", detail, self.range(start, start + 1))

    @staticmethod
    def _continues(char: str) -> bool:
        return char == "-" or char.isalnum() or char == "_" or ("a" + char).isidentifier()

    def read(self) -> Token:
        """Return the next token and step over it."""
        token = self.peek()
        self.position = token.end
        return token

    def take(self, *operators: str) -> Token | None:
        """Step over the next token if it is one of these operators; return it then."""
        token = self.peek()
        if not token.is_operator(*operators):
            return None
        self.position = token.end
        return token
