r"""One pattern of an ignore file -> what it matches.

`*` and `?` stop at slashes, `**` doesn't and may be followed by a slash that is swallowed with it, `[…]`
is a class, `\` makes the next character literal. The behaviour is that of moby/patternmatcher, which
translates a pattern to a regular expression of Go piece by piece, without looking at what is inside of
brackets; what falls out of that is its behaviour, too: `\d` is a digit, `^` may be an anchor, `[[:alpha:]]`
a letter, and a `*` in brackets takes the bracket apart. So the translation is made in the same two steps:
pattern -> Go's regular expression -> Python's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto

from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = [
    "BadPattern",
    "Kind",
    "Translation",
    "check_syntax",
    "pieces",
    "translate",
]

_BOM = "\ufeff"
_GO_SPECIAL = frozenset(".+()|{}$")
# What Go's filepath.Match accepts: a class isn't empty, and in it `]` and `-` are escaped.
_CLASS_CHAR = r"(?:[^\]\-\\]|\\.)"
_SYNTAX = pattern(rf"(?:[^\[\\]|\\.|\[\^?+(?:{_CLASS_CHAR}(?:-{_CLASS_CHAR})?)+\])*", re.DOTALL)
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PERL = {"d": r"\d", "D": r"\D", "s": r"\t\n\f\r ", "S": r"\S", "w": r"\w", "W": r"\W"}
_ANCHORS = {"A": r"\A", "b": r"\b", "B": r"\B", "z": r"\Z"}
_NAMED = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_OCTAL = pattern(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_HEX = pattern(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})")
_NAMED_CLASS = pattern(r"\[:(\^?)([^]\[]*?):\]")


class BadPattern(InputError):
    """A pattern that can't be understood; the text is Go's."""

    def __init__(self) -> None:
        super().__init__("syntax error in pattern")


class Kind(Enum):
    """How a pattern is compared."""

    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()
    REGEX = auto()


@frozen
class Translation:
    """How a pattern is compared, and with what: for REGEX, an expression of Go for the whole path."""

    kind: Kind
    operand: str


def check_syntax(pattern: str) -> None:
    """Raise BadPattern if Go's `filepath.Match` would refuse the pattern."""
    if _SYNTAX.fullmatch(pattern) is None:
        raise BadPattern


def translate(pattern: str) -> Translation:
    """Find out how a pattern, cleaned and without `!`, is compared."""
    regex: list[str] = []
    kind = Kind.EXACT
    position = 1 if pattern.startswith(_BOM) else 0
    is_first = True
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*" and pattern.startswith("*", position):
            position += 1
            position += pattern.startswith("/", position)
            if position < len(pattern):
                regex.append("(.*/)?")
                kind = Kind.REGEX
            elif kind is Kind.EXACT:
                kind = Kind.PREFIX
            else:
                regex.append(".*")
                kind = Kind.REGEX
            if is_first:
                kind = Kind.SUFFIX
        else:
            piece, is_special = _piece(pattern, char, position)
            regex.append(piece)
            position += char == "\\" and position < len(pattern)
            kind = Kind.REGEX if is_special else kind
        is_first = False
    return Translation(kind=kind, operand=_operand(pattern, kind, "".join(regex)))


def _piece(pattern: str, char: str, position: int) -> tuple[str, bool]:
    """Translate one character (with the next one, if escaped); tell if it needs an expression."""
    if char == "*":
        return "[^/]*", True
    if char == "?":
        return "[^/]", True
    if char == "\\":
        return f"\\{pattern[position : position + 1]}", position < len(pattern)
    return (f"\\{char}" if char in _GO_SPECIAL else char), char in "[]"


def _operand(pattern: str, kind: Kind, regex: str) -> str:
    if kind is Kind.PREFIX:
        return pattern[:-2]
    if kind is Kind.SUFFIX:
        return pattern[2:]
    return f"^{regex}$" if kind is Kind.REGEX else pattern


def pieces(regex: str) -> list[str]:
    r"""Translate an expression of Go for `re.ASCII`, cut into classes, escapes and single characters.

    Raises BadPattern where Go's compiler would refuse it, and for `\p`, `\P` and `\Q`.
    """
    parts: list[str] = []
    position = 0
    while position < len(regex):
        char = regex[position]
        if char == "[":
            part, position = _class(regex, position + 1)
        elif char == "\\":
            part, position = _escape(regex, position + 1, _outer_escape)
        else:
            part, position = (r"\Z" if char == "$" else char), position + 1
        parts.append(part)
    return parts


def _outer_escape(char: str) -> str | None:
    if char == "s":
        return f"[{_PERL[char]}]"
    return _PERL.get(char) or _ANCHORS.get(char)


def _escape(regex: str, position: int, named: Callable[[str], str | None]) -> tuple[str, int]:
    """Translate what is behind a backslash; `named` knows letters that aren't single characters."""
    found = named(regex[position : position + 1])
    if found is not None:
        return found, position + 1
    char, position = _escaped_char(regex, position)
    return re.escape(char), position


def _escaped_char(regex: str, position: int) -> tuple[str, int]:
    char = regex[position : position + 1]
    if char in _CONTROL:
        return _CONTROL[char], position + 1
    if match := _OCTAL.match(regex, position):
        return chr(int(match[0], 8)), match.end()
    if match := _HEX.match(regex, position):
        code = int(match[1] or match[2], 16)
        if code <= 0x10FFFF:
            return chr(code), match.end()
    elif char.isascii() and char and not char.isalnum():
        return char, position + 1
    raise BadPattern


def _class(regex: str, position: int) -> tuple[str, int]:
    """Translate a class whose opening bracket is behind us."""
    negation = "^" if regex.startswith("^", position) else ""
    position += len(negation)
    items: list[str] = []
    while items == [] or not regex.startswith("]", position):
        if position >= len(regex):
            raise BadPattern
        item, position = _class_item(regex, position)
        items.append(item)
    return f"[{negation}{''.join(items)}]", position + 1


def _class_item(regex: str, position: int) -> tuple[str, int]:
    if match := _NAMED_CLASS.match(regex, position):
        return _named_class(match), match.end()
    if regex[position] == "\\" and (found := _PERL.get(regex[position + 1 : position + 2])):
        return found, position + 2
    low, position = _class_char(regex, position)
    if regex.startswith("-", position) and not regex.startswith("-]", position):
        high, position = _class_char(regex, position + 1)
        if high < low:
            raise BadPattern
        return f"{re.escape(low)}-{re.escape(high)}", position
    return _class_escape(low), position


def _class_char(regex: str, position: int) -> tuple[str, int]:
    if position >= len(regex):
        raise BadPattern
    if regex[position] == "\\":
        return _escaped_char(regex, position + 1)
    return regex[position], position + 1


def _class_escape(char: str) -> str:
    # Python warns of sets in sets and of doubled operators, so that all of them are escaped.
    return f"\\{char}" if char in "[]^-&~|\\" else re.escape(char)


def _named_class(match: re.Match[str]) -> str:
    members = _NAMED.get(match[2])
    if members is None:
        raise BadPattern
    if not match[1]:
        return members
    inside = re.compile(f"[{members}]")
    others = "".join(re.escape(chr(code)) for code in range(128) if not inside.match(chr(code)))
    return f"{others}\x80-\U0010ffff"
