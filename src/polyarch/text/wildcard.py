r"""Wildcards in the sources of COPY and ADD: those of Go's `filepath.Match`, one name at a time.

`*` is any run of characters, `?` one character, `[a-z]` and `[^a-z]` are classes, and a backslash makes
the next character an ordinary one. A pattern that is wrong (`[`, `[]`, `\` at its end) matches nothing,
without a word, as with BuildKit.
"""

from __future__ import annotations

import re

from polyarch.pattern import pattern
from polyarch.text.glob import BadPattern, check_syntax

__all__ = ["compile_name", "has_wildcards", "split_pattern"]

_ATOM = pattern(r"\\(.)|\[(\^?)((?:\\.|[^\]\\])+)\]|(.)", re.DOTALL)
_CLASS_CHAR = pattern(r"\\(.)|(-)|(.)", re.DOTALL)
_NOTHING = pattern(r"(?!)")


def has_wildcards(path: str) -> bool:
    """Tell if a path is a pattern: an escaped character alone makes none of it."""
    return any(atom.startswith(("*", "?", "[")) for atom in re.findall(r"\\.|.", path, re.DOTALL))


def split_pattern(path: str) -> tuple[str, str]:
    """Split a cleaned path into the part before the first name with a wildcard, and the rest.

    The first part is taken as it stands, backslashes included.
    """
    parts = path.strip("/").split("/")
    for number, part in enumerate(parts):
        if has_wildcards(part):
            return "/".join(parts[:number]), "/".join(parts[number:])
    return "/".join(parts), ""


def compile_name(pattern: str) -> re.Pattern[str]:
    """Return an expression for the names that a pattern without slashes matches, to be used with `fullmatch`."""
    try:
        check_syntax(pattern)
    except BadPattern:
        return _NOTHING
    first, *others = _split_at_stars(pattern)
    # Each part but the last is taken where it comes first and never tried again: that finds all names
    # that there are to find, and many stars take no more time than one.
    parts = [
        first,
        *(f"(?>.*?{part})" for part in others[:-1]),
        *(f".*{part}" for part in others[-1:]),
    ]
    return re.compile("".join(parts), re.DOTALL)


def _split_at_stars(pattern: str) -> list[str]:
    parts = [""]
    for match in _ATOM.finditer(pattern):
        if match[4] == "*":
            parts.append("")
        else:
            parts[-1] += _atom(match)
    return parts


def _atom(match: re.Match[str]) -> str:
    escaped, negation, content, char = match.groups()
    if content is not None:
        chars = _class(content)
        return f"[{negation}{chars}]" if chars else "." if negation else _NOTHING.pattern
    return "." if char == "?" else re.escape(escaped or char)


def _class(content: str) -> str:
    """Translate what is between brackets: characters, ranges and escapes; an empty range matches nothing."""
    chars = [
        (each[1] or each[3] or "-", each[2] is not None) for each in _CLASS_CHAR.finditer(content)
    ]
    parts: list[str] = []
    position = 0
    while position < len(chars):
        low = chars[position][0]
        is_range = position + 2 < len(chars) and chars[position + 1][1]
        high = chars[position + 2][0] if is_range else low
        position += 3 if is_range else 1
        if low <= high:
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
    return "".join(parts)
