"""Template text -> tokens: texts, and what stands between `{{` and `}}`."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["Token", "error_at", "tokens"]


@frozen
class Token:
    """A piece of a template from `start` to `end`; `spaced` tells if blanks stand before it.

    `kind` is text, left, right, string, raw, char, number, field, variable, word, or the character
    itself for the others.
    """

    kind: str
    text: str
    start: int
    end: int
    spaced: bool = False


def error_at(source: str, position: int, reason: str) -> InputError:
    """The error for a template that can't be understood, with the line."""
    line = source.count("\n", 0, position) + 1
    return InputError(f"template parsing error: template: :{line}: {reason}")


_LEFT = pattern(r"\{\{(-(?=[ \t\r\n]))?")
_COMMENT = pattern(r"[ \t\r\n]*/\*.*?\*/(?:[ \t\r\n]+(-))?\}\}", re.DOTALL)
# "-" belongs to the end of an action only behind a blank.
_RIGHT = pattern(r"(?:(?<=[ \t\r\n])(-))?\}\}")
_BLANKS = pattern(r"[ \t\r\n]+")
_TOKEN = pattern(
    r'(?P<string>"(?:[^"\\\n]|\\.)*")'
    r"|(?P<raw>`[^`]*`)"
    r"|(?P<char>'(?:[^'\\\n]|\\.)+')"
    r"|(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[oObB][0-7_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?"
    r"|\.[0-9]+))"
    r"|(?P<field>\.[^\W\d]\w*)"
    r"|(?P<variable>\$\w*)"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<declare>:=)"
    r"|(?P<other>[.=,|()])"
)
_SPACE = " \t\r\n"


def tokens(source: str) -> Iterator[Token]:
    """Cut a template into tokens. Raises InputError for what is no token."""
    position = 0
    trims = False
    while True:
        match = _LEFT.search(source, position)
        end = match.start() if match else len(source)
        text = source[position:end]
        text = text.lstrip(_SPACE) if trims else text
        text = text.rstrip(_SPACE) if match and match[1] else text
        if text:
            yield Token(kind="text", text=text, start=position, end=end)
        if match is None:
            return
        comment = _COMMENT.match(source, match.end())
        if comment is not None:
            position, trims = comment.end(), bool(comment[1])
            continue
        if source.startswith("/*", match.end()):
            raise error_at(source, match.start(), "unclosed comment")
        yield Token(kind="left", text=match[0], start=match.start(), end=match.end())
        right = yield from _action(source, match.end())
        position, trims = right.end(), bool(right[1])


def _action(source: str, position: int) -> Generator[Token, None, re.Match[str]]:
    """Cut one action; the generator's value is the match of its end."""
    spaced = False
    while True:
        blanks = _BLANKS.match(source, position)
        if blanks is not None:
            position, spaced = blanks.end(), True
        right = _RIGHT.match(source, position)
        if right is not None:
            yield Token(kind="right", text="}}", start=right.start(), end=right.end())
            return right
        match = _TOKEN.match(source, position)
        if match is None or match.lastgroup is None:
            raise _error_on(source, position)
        kind = match.lastgroup
        if kind in {"declare", "other"}:
            kind = match[0]
        yield Token(kind=kind, text=match[0], start=position, end=match.end(), spaced=spaced)
        _check_end(source, kind, match.end())
        position, spaced = match.end(), False


def _check_end(source: str, kind: str, position: int) -> None:
    """A name must be followed by what can't be part of it."""
    following = source[position : position + 1]
    if kind in {"field", "variable", "word", "number"} and following:
        ends = following in " \t\r\n.,|():=" or source.startswith("}}", position)
        if kind == "number" and not ends:
            raise error_at(
                source, position, f'bad number syntax: "{source[position - 1 : position + 1]}"'
            )
        if not ends:
            raise error_at(source, position, f"bad character U+{ord(following):04X} '{following}'")


_UNTERMINATED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
}


def _error_on(source: str, position: int) -> InputError:
    char = source[position : position + 1]
    if char in _UNTERMINATED:
        return error_at(source, position, _UNTERMINATED[char])
    if "}}" not in source[position:]:
        return error_at(source, position, "unclosed action")
    return error_at(source, position, f'unexpected "{char}" in command')
