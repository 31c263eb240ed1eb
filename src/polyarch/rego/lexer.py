"""A module's text as tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from polyarch.golang.json import read_json
from polyarch.graph.location import SourceText
from polyarch.pattern import pattern
from polyarch.rego.faults import At, RegoError

__all__ = ["KEYWORDS", "Token", "tokens"]

# `contains` is one in heads of rules only: it is a function as well.
KEYWORDS = frozenset(
    [
        "as",
        "default",
        "else",
        "every",
        "false",
        "if",
        "import",
        "in",
        "not",
        "null",
        "package",
        "some",
        "true",
        "with",
    ]
)
_LARGEST = 1 << 20
"""The characters that a module may have."""

_TOKEN = pattern(
    r"(?P<blank>[ \t\r\n]+|\#[^\n]*)"
    r"|(?P<number>(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r'|(?P<template>\$["`])'
    r'|(?P<text>"(?:[^"\\\n]|\\.)*")'
    r"|(?P<raw>`[^`]*`)"
    r"|(?P<sign>:=|==|!=|<=|>=|[-+*/%&|<>=(){}\[\],;:.])"
)


class Token(NamedTuple):
    """A word of the text: `kind` is name, number, text, sign or end; `value` what it stands for.

    `is_apart` says that something stands before it that isn't seen; `begins` that a line ended there.
    """

    kind: str
    value: object
    offset: int
    is_apart: bool
    begins: bool


def tokens(source: SourceText) -> list[Token]:
    """Return all tokens, the last one of kind `end`. Raises RegoError."""
    text = source.text
    if len(text) > _LARGEST:
        raise RegoError(f"the module has more than {_LARGEST} characters", At(source, 0))
    found: list[Token] = []
    position, is_apart, begins = 0, True, True
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _illegal(source, position)
        kind = str(match.lastgroup)
        if kind == "blank":
            is_apart = True
            begins = begins or "\n" in match.group()
        else:
            kind, value = _value(source, match, kind)
            found.append(Token(kind, value, position, is_apart, begins))
            is_apart = begins = False
        position = match.end()
    found.append(Token("end", "", position, True, True))
    return found


def _value(source: SourceText, match: re.Match[str], kind: str) -> tuple[str, object]:
    text = match.group()
    at = At(source, match.start())
    if kind == "template":
        raise RegoError("template strings aren't there yet: use sprintf", at)
    if kind == "raw":
        return "text", text[1:-1]
    if kind in {"text", "number"}:
        try:
            return kind, read_json(text)
        except ValueError:
            raise RegoError(f"invalid {'string' if kind == 'text' else kind}", at) from None
    return kind, text


def _illegal(source: SourceText, position: int) -> RegoError:
    at = At(source, position)
    char = source.text[position]
    if char in '"`':
        return RegoError("non-terminated string", at)
    return RegoError(f"illegal token: {char!r}", at)
