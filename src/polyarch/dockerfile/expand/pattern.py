r"""Patterns of `${NAME#p}`, `${NAME%p}` and `${NAME/p/word}`.

`*` matches any run of characters, `?` one character, neither a line feed. `\*`, `\?` and `\\` stand for
the character, `\}` and `\/` for what can't be written otherwise; other escapes are errors. Brackets are
ordinary.

A pattern is cut at its stars. Each part up to the last star is matched as early as it can be and never
tried again: that changes no result (an earlier match leaves more to what follows), and whoever writes
hostile patterns gets no more than the product of pattern and value in time. For the same reason a search
goes on in the next line where a part was missing: no later start in the line could find it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["MAX_GROWTH", "PatternError", "remove_prefix", "remove_suffix", "replace"]

MAX_GROWTH = 1 << 20
"""How many characters variables may add to one text. Variables in variables double, line by line."""

_ATOM = pattern(r"\\.|.", re.DOTALL)


class PatternError(Exception):
    """A pattern with an escape that means nothing; the text is that of the syntax error."""


@frozen
class _Part:
    """What stands between two stars: a text, and an expression if there are `?` in it."""

    text: str
    size: int
    regex: re.Pattern[str] | None
    last: re.Pattern[str] | None
    """Finds the last place in a line."""

    @property
    def has_line_feed(self) -> bool:
        return "\n" in self.text

    def find(self, value: str, start: int, end: int) -> tuple[int, int] | None:
        """Find the first place that begins between `start` and `end`."""
        if self.regex is not None:
            match = self.regex.search(value, start, end + self.size)
            return None if match is None else match.span()
        place = value.find(self.text, start, end + len(self.text))
        return None if place < 0 else (place, place + len(self.text))

    def find_last(self, value: str, start: int, end: int) -> int | None:
        """Find where the last place ends that begins between `start` and `end`, the line's end."""
        if self.last is not None:
            match = self.last.match(value, start)
            return None if match is None else match.end()
        place = value.rfind(self.text, start, end + len(self.text))
        return None if place < 0 else place + len(self.text)

    def match(self, value: str) -> int | None:
        """Return where the part ends, if the value begins with it."""
        if self.regex is not None:
            match = self.regex.match(value)
            return None if match is None else match.end()
        return len(self.text) if value.startswith(self.text) else None


def _parts(pattern: str) -> tuple[_Part, ...]:
    texts: list[list[str]] = [[]]
    wild: list[bool] = [False]
    for atom in _ATOM.findall(pattern):
        if atom == "*":
            texts.append([])
            wild.append(False)
        elif atom == "?":
            texts[-1].append("")
            wild[-1] = True
        else:
            texts[-1].append(atom if atom[0] != "\\" else _escaped(atom, pattern))
    return tuple(_part(chars, is_wild) for chars, is_wild in zip(texts, wild, strict=True))


def _escaped(atom: str, pattern: str) -> str:
    if atom[1:] in {"*", "?", "\\", "}", "/"}:
        return atom[1]
    wrong = atom[1:] or "\ufffd"
    raise PatternError(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{wrong}'")


def _part(chars: list[str], is_wild: bool) -> _Part:
    text = "".join(chars)
    if not is_wild:
        return _Part(text=text, size=len(chars), regex=None, last=None)
    regex = "".join(re.escape(char) if char else "." for char in chars)
    return _Part(text=text, size=len(chars), regex=re.compile(regex), last=re.compile(f".*{regex}"))


def _rest(value: str, end: int, parts: tuple[_Part, ...], *, longest: bool) -> int | None:
    """Return where a match ends whose first part ended at `end`; `parts` are those behind stars."""
    for number, part in enumerate(parts, 1):
        line_end = value.find("\n", end)
        line_end = len(value) if line_end < 0 else line_end
        if number == len(parts) and longest:
            return part.find_last(value, end, line_end)
        found = part.find(value, end, line_end)
        if found is None:
            return None
        end = found[1]
    return end


def remove_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """Remove the shortest or longest prefix that matches. Raises PatternError."""
    first, *others = _parts(pattern)
    end = first.match(value)
    if end is not None:
        end = _rest(value, end, tuple(others), longest=longest)
    return value if end is None else value[end:]


def remove_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """Remove the shortest or longest suffix that matches. Raises PatternError."""
    # The shortest suffix is found from the end only, so both are turned round; escapes stay pairs.
    reverse = "".join(reversed(_ATOM.findall(pattern)))
    return remove_prefix(value[::-1], reverse, longest=longest)[::-1]


def replace(value: str, pattern: str, new: str, *, every: bool) -> str:
    """Replace the first match, or every one, the longest there is.

    Raises PatternError, also if the value would grow by more than `MAX_GROWTH`.
    """
    parts: list[str] = []
    end = 0
    size = 0
    for start, stop in _matches(value, _parts(pattern)):
        # An empty match right behind another match doesn't count in Go.
        if stop > end or start == 0:
            filled = _fill_in(new, value[start:stop]) if every else new
            parts += value[end:start], filled
            size += len(filled)
            end = stop
        if size > MAX_GROWTH:
            raise PatternError(f"variables add more than {MAX_GROWTH} characters")
        if not every:
            break
    parts.append(value[end:])
    return "".join(parts)


def _matches(value: str, parts: tuple[_Part, ...]) -> Iterator[tuple[int, int]]:
    """Yield all matches from left to right, none in another, the longest each."""
    first, *others = parts
    in_one_line = not any(part.has_line_feed for part in parts)
    position = 0
    while position <= len(value):
        found = first.find(value, position, len(value))
        if found is None:
            return
        end = _rest(value, found[1], tuple(others), longest=True)
        if end is not None:
            yield found[0], end
            position = max(end, found[0] + 1) if end == found[0] else end
        elif in_one_line and (line_end := value.find("\n", found[1])) >= 0:
            position = line_end + 1
        elif in_one_line:
            return
        else:
            position = found[0] + 1


def _fill_in(template: str, match: str) -> str:
    """Fill in the `$name`s of a replacement.

    Go takes replacements for templates, when all matches are replaced: `$0` is the match, `$$` a
    dollar, and other names are groups, of which a pattern has none.
    """
    if "$" not in template:
        return template
    first, *others = template.split("$")
    parts = [first]
    is_taken = False  # the dollar before this one was the first of two
    for number, text in enumerate(others, 1):
        if is_taken:
            is_taken = False
            parts.append(text)
        elif not text and number < len(others):
            is_taken = True
            parts.append("$")
        else:
            parts.append(_reference(text, match))
    return "".join(parts)


def _reference(text: str, match: str) -> str:
    """Fill in one `$name` or `${name}`, whose dollar is behind us."""
    start = end = int(text.startswith("{"))
    while end < len(text) and (text[end].isalpha() or text[end].isdecimal() or text[end] == "_"):
        end += 1
    name = text[start:end]
    if not name or (start and not text.startswith("}", end)):
        return f"${text}"
    return (match if name == "0" else "") + text[end + start :]
