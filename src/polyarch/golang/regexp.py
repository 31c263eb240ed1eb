"""Regular expressions of Go in Python's syntax.

What Go lacks (looking around, references back) is refused in its words.
Source: documentation of Go's package regexp/syntax.
"""

from __future__ import annotations

import re

from polyarch.pattern import pattern

__all__ = ["compile_regexp", "expand"]

_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CATEGORIES = {"L": "^\\W\\d_", "N": "\\d", "Lu": "A-ZÀ-ÖØ-Þ", "Ll": "a-zß-öø-ÿ", "Nd": "\\d"}
_POSIX = pattern(r"\[:(\^?)(\w+):\]")
_GROUP = pattern(r"\(\?(?:P?<(\w+)>|([imsU-]+)([:)])|:)")
_UNICODE = pattern(r"\\([pP])(?:\{(\^?)(\w+)\}|(\w))")
_REPETITION = pattern(r"(?:[*+?]|\{\d+(?:,\d*)?\})\??")
_TEMPLATE = pattern(r"\$(?:\$|\{(\w+)\}|(\w+))")


class _Translator:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.flags = ""
        self.parts: list[str] = []
        self._last = ""

    def run(self) -> str:
        """Return the expression in Python's syntax. Raises ValueError with Go's reason."""
        while self.position < len(self.source):
            char = self.source[self.position]
            if char == "\\":
                self._escape()
            elif char == "[":
                self._brackets()
            elif char == "(":
                self._group()
            elif match := _REPETITION.match(self.source, self.position):
                self._repeat(match.group())
            else:
                self._take("\\Z" if char == "$" and "m" not in self.flags else char, 1)
        return "".join(self.parts)

    def _take(self, part: str, length: int) -> None:
        self.parts.append(part)
        self.position += length

    def _repeat(self, sign: str) -> None:
        before = self.source[: self.position]
        if not before or (before[-1:] in {"(", "|"} and not before.endswith(("\\(", "\\|"))):
            raise ValueError(f"missing argument to repetition operator in {sign}")
        if self._last == str(self.position):
            raise ValueError(f"invalid nested repetition operator in {sign}")
        self._take(sign, len(sign))
        self._last = str(self.position)

    def _escape(self) -> None:
        rest = self.source[self.position : self.position + 2]
        if len(rest) < 2:
            raise ValueError("trailing backslash at end of expression in ")
        letter = rest[1]
        if letter == "Q":
            end = self.source.find("\\E", self.position)
            end = len(self.source) if end < 0 else end
            content = self.source[self.position + 2 : end]
            self._take(re.escape(content), len(content) + 4)
        elif match := _UNICODE.match(self.source, self.position):
            self._take(f"[{self._category(match)}]", len(match.group()))
        elif letter == "z":
            self._take("\\Z", 2)
        elif letter == "x" and self.source.startswith("{", self.position + 2):
            end = self.source.find("}", self.position)
            code = int(self.source[self.position + 3 : end], 16)
            self._take(re.escape(chr(code)), end + 1 - self.position)
        elif letter in "123456789ZGK" or (letter.isalpha() and letter not in "AbBdDfnrsStvwWxaC"):
            raise ValueError(f"invalid escape sequence in \\{letter}")
        else:
            self._take(rest, 2)

    def _category(self, match: re.Match[str]) -> str:
        name = match[3] or match[4]
        if name not in _CATEGORIES:
            raise ValueError(f"invalid character class range in {match.group()}")
        inside = _CATEGORIES[name]
        if (match[1] == "P") != bool(match[2]):
            inside = inside[1:] if inside.startswith("^") else f"^{inside}"
        return inside

    def _brackets(self) -> None:
        position = self.position + 1
        inside = ["["]
        if self.source.startswith("^", position):
            inside.append("^")
            position += 1
        if self.source.startswith("]", position):
            inside.append("\\]")
            position += 1
        while position < len(self.source) and self.source[position] != "]":
            if match := _POSIX.match(self.source, position):
                if match[2] not in _CLASSES or match[1]:
                    raise ValueError(f"invalid character class range in {match.group()}")
                inside.append(_CLASSES[match[2]])
                position = match.end()
            elif self.source[position] == "\\":
                inside.append(self.source[position : position + 2])
                position += 2
            else:
                char = self.source[position]
                inside.append("\\" + char if char in "[&~|" else char)
                position += 1
        if position >= len(self.source):
            raise ValueError(f"missing closing ] in {self.source[self.position :]}")
        inside.append("]")
        self._take("".join(inside), position + 1 - self.position)

    def _group(self) -> None:
        if not self.source.startswith("(?", self.position):
            self._take("(", 1)
            return
        match = _GROUP.match(self.source, self.position)
        if match is None:
            bad = self.source[self.position : self.position + 3]
            raise ValueError(f"invalid or unsupported Perl syntax in {bad}")
        if match[1]:
            self._take(f"(?P<{match[1]}>", len(match.group()))
        elif match[2] and match[3] == ")":
            # To the end of the group; at the beginning that is everything.
            self.flags += match[2].partition("-")[0]
            self.position = match.end()
        else:
            self._take(match.group(), len(match.group()))


def compile_regexp(source: str) -> re.Pattern[str]:
    """Translate and compile. Raises ValueError with Go's reason."""
    translator = _Translator(source)
    translated = translator.run()
    flags = re.ASCII
    for letter, flag in (("i", re.IGNORECASE), ("m", re.MULTILINE), ("s", re.DOTALL)):
        if letter in translator.flags:
            flags |= flag
    if "i" in translator.flags and not source.isascii():
        flags &= ~re.ASCII
    try:
        return re.compile(translated, flags)
    except (re.error, OverflowError, RecursionError) as error:
        text = str(error)
        if "missing )" in text or "unterminated subpattern" in text:
            raise ValueError(f"missing closing ) in {source}") from None
        if "unbalanced parenthesis" in text:
            raise ValueError(f"unexpected ) in {source}") from None
        if "bad character range" in text:
            raise ValueError(f"invalid character class range in {source}") from None
        raise ValueError(f"invalid or unsupported Perl syntax in {source}") from None


def expand(match: re.Match[str], template: str) -> str:
    """Write what was found into a template with `$1`, `${name}` and `$$`."""

    def part(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        if name.isdigit():
            number = int(name)
            return (match[number] or "") if number <= match.re.groups else ""
        return (match[name] or "") if name in match.re.groupindex else ""

    return _TEMPLATE.sub(part, template)
