r"""Patterns of `${NAME#p}`, `${NAME%p}` and `${NAME/p/word}`.

`*` matches any run of characters, `?` one character, neither a line feed. `\*`, `\?` and `\\` stand for
the character, `\}` and `\/` for what can't be written otherwise; other escapes are errors. Brackets are
ordinary.

A pattern becomes a regular expression in which each part up to the last star is matched as early as it
can be and never tried again: that changes no result (an earlier match leaves more to what follows), and
keeps the time for hostile patterns polynomial.
"""

from __future__ import annotations

import re

__all__ = ["PatternError", "remove_prefix", "remove_suffix", "replace"]

_ATOM = re.compile(r"\\.|.", re.DOTALL)
_TEMPLATE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


class PatternError(Exception):
    """A pattern with an escape that means nothing; the text is that of the syntax error."""


def _compile(pattern: str, *, longest: bool) -> re.Pattern[str]:
    segments = [""]
    atoms = iter(_ATOM.findall(pattern))
    for atom in atoms:
        if atom == "*":
            segments.append("")
        elif atom == "?":
            segments[-1] += "."
        elif atom[0] != "\\":
            segments[-1] += re.escape(atom)
        elif atom[1:] in {"*", "?", "\\", "}", "/"}:
            segments[-1] += re.escape(atom[1])
        else:
            wrong = atom[1:] or "\ufffd"
            raise PatternError(
                f"invalid pattern ({pattern}) in substitution: invalid escape '\\{wrong}'"
            )
    first, *others = segments
    regex = first + "".join(f"(?>.*?{part})" for part in others[:-1])
    if others:
        regex += f".*{'' if longest else '?'}{others[-1]}"
    return re.compile(regex)


def remove_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """Remove the shortest or longest prefix that matches. Raises PatternError."""
    match = _compile(pattern, longest=longest).match(value)
    return value if match is None else value[match.end() :]


def remove_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """Remove the shortest or longest suffix that matches. Raises PatternError."""
    # The shortest suffix is found from the end only, so both are turned round; escapes stay pairs.
    reverse = "".join(reversed(_ATOM.findall(pattern)))
    return remove_prefix(value[::-1], reverse, longest=longest)[::-1]


def replace(value: str, pattern: str, new: str, *, every: bool) -> str:
    """Replace the first match, or every one, the longest there is. Raises PatternError."""
    regex = _compile(pattern, longest=True)
    if not every:
        match = regex.search(value)
        return value if match is None else value[: match.start()] + new + value[match.end() :]
    parts: list[str] = []
    end = 0
    for match in regex.finditer(value):
        parts.append(value[end : match.start()])
        # An empty match right behind another match doesn't count in Go, other than in Python.
        if match.end() > end or match.start() == 0:
            parts.append(_fill_in(new, match[0]))
        end = match.end()
    parts.append(value[end:])
    return "".join(parts)


def _fill_in(template: str, match: str) -> str:
    """Fill in the `$name`s of a replacement.

    Go takes replacements for templates, when all matches are replaced: `$0` is the match, `$$` a
    dollar, and other names are groups, of which a pattern has none.
    """

    def value_of(reference: re.Match[str]) -> str:
        dollar, braced, bare = reference.groups()
        if dollar:
            return "$"
        return match if (braced or bare) == "0" else ""

    return _TEMPLATE.sub(value_of, template)
