r"""Variables in the words of a Dockerfile: `$NAME`, `${NAME:-word}`, quotes and escapes.

    word    = { plain | "$" name | "${" name [ modifier ] "}" | "'" … "'" | '"' … '"' | escape char }
    name    = digits | one of @*#?-$!0 | letters, digits and "_"
    modifier = [ ":" ] ( "-" | "+" | "?" ) word
             | ( "#" | "##" | "%" | "%%" ) pattern
             | ( "/" | "//" ) pattern "/" word

Patterns know `*`, `?` and escaped characters; the wildcards don't match a line feed. The behaviour is
that of BuildKit's `frontend/dockerfile/shell`, odd corners included; each is said where it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from polyarch.dockerfile.expand.pattern import (
    MAX_GROWTH,
    PatternError,
    remove_prefix,
    remove_suffix,
    replace,
)
from polyarch.errors import DockerfileError, Place
from polyarch.golang.strconv import quote
from polyarch.golang.unicode import SPACE, is_space
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = [
    "DISPLAY",
    "HEREDOC",
    "RAW",
    "WORD",
    "Expansion",
    "Mode",
    "expand",
    "expand_words",
    "expansion",
]

_BOM = "\ufeff"
_SPECIAL = frozenset("@*#?-$!0")
_END = "\ufffd"  # what Go prints for the end of input
_MAX_DEPTH = 100
_SPLIT = pattern(f"[{SPACE}]+")


@frozen
class Mode:
    """How words are processed; one for each place where the builder does it."""

    keep_quotes: bool = False
    """Quotes do their work but stay."""
    keep_escapes: bool = False
    """Escape characters do their work but stay."""
    plain_quotes: bool = False
    """Quotes are ordinary characters."""
    keep_unset: bool = False
    """Variables that aren't set stay as they are written."""


WORD = Mode()
"""Arguments of instructions."""
HEREDOC = Mode(plain_quotes=True)
"""Bodies of here-documents of COPY and ADD."""
DISPLAY = Mode(keep_quotes=True, keep_unset=True)
"""Names of steps in the progress output."""
RAW = Mode(keep_quotes=True, keep_escapes=True, keep_unset=True)
"""Only split into words: nothing gets lost."""


@frozen
class Expansion:
    """What became of a word."""

    text: str
    words: tuple[str, ...]
    """The text split at blanks outside of quotes, those from unquoted variables among them."""
    matched: frozenset[str] = frozenset()
    """Variables that were used and are set."""
    unmatched: frozenset[str] = frozenset()
    """Variables that were used and aren't set."""


def expand(
    word: str,
    env: Mapping[str, str],
    *,
    escape: str = "\\",
    mode: Mode = WORD,
    place: Place | None = None,
) -> str:
    """Expand a word to one text.

    Raises DockerfileError at `place` for bad syntax, and where `${NAME:?message}` says so.
    """
    if not _is_special(word, escape, mode):
        return word
    return expansion(word, env, escape=escape, mode=mode, place=place).text


def expand_words(
    word: str,
    env: Mapping[str, str],
    *,
    escape: str = "\\",
    mode: Mode = WORD,
    place: Place | None = None,
) -> tuple[str, ...]:
    """Expand a text and split it into words. Raises as `expand`."""
    return expansion(word, env, escape=escape, mode=mode, place=place).words


def expansion(
    word: str,
    env: Mapping[str, str],
    *,
    escape: str = "\\",
    mode: Mode = WORD,
    place: Place | None = None,
) -> Expansion:
    """Expand a text and tell all that is known about it. Raises as `expand`."""
    lexer = _Lexer(word, env, escape, mode)
    try:
        text, words = lexer.until("", mode.keep_escapes)
    except _SyntaxError as error:
        raise DockerfileError(f"failed to process {quote(word)}: {error}", place=place) from None
    return Expansion(
        text=text,
        words=tuple(words),
        matched=frozenset(lexer.matched),
        unmatched=frozenset(lexer.unmatched),
    )


def _is_special(word: str, escape: str, mode: Mode) -> bool:
    if "$" in word or escape in word or word.startswith(_BOM):
        return True
    return not mode.plain_quotes and ("'" in word or '"' in word)


class _SyntaxError(Exception):
    """What is wrong with a word; made a DockerfileError where the whole word is known."""


class _Words:
    """Collects words: blanks in split text end one, raw text never does."""

    __slots__ = ("current", "done")

    def __init__(self) -> None:
        self.done: list[str] = []
        self.current = ""

    def add_split(self, text: str) -> None:
        first, *others = _SPLIT.split(text)
        self.current += first
        for part in others:
            if self.current:
                self.done.append(self.current)
            self.current = part

    def add_raw(self, text: str) -> None:
        self.current += text

    def finish(self) -> list[str]:
        if self.current:
            self.done.append(self.current)
            self.current = ""
        return self.done


class _Lexer:
    """One pass over a word."""

    __slots__ = (
        "depth",
        "env",
        "escape",
        "grown",
        "keep_escapes",
        "matched",
        "mode",
        "plain",
        "position",
        "source",
        "unmatched",
    )

    def __init__(self, source: str, env: Mapping[str, str], escape: str, mode: Mode) -> None:
        self.source = source
        # A byte order mark in front of any word is dropped, as Go's text/scanner does.
        self.position = 1 if source.startswith(_BOM) else 0
        self.env = env
        self.escape = escape
        self.mode = mode
        self.keep_escapes = mode.keep_escapes
        self.plain = _plain_run(escape, plain_quotes=mode.plain_quotes)
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()
        self.depth = 0
        self.grown = 0

    def peek(self) -> str:
        """Return the next character, "" at the end."""
        return self.source[self.position : self.position + 1]

    def take(self) -> str:
        """Return the next character and go on; "" at the end."""
        char = self.source[self.position : self.position + 1]
        self.position += len(char)
        return char

    def until(self, stop: str, keep_escapes: bool) -> tuple[str, list[str]]:
        """Process up to the character `stop`, which is taken, or to the end if it is ""."""
        if self.depth > _MAX_DEPTH:
            raise _SyntaxError(f"substitutions are nested more than {_MAX_DEPTH} deep")
        outer, self.keep_escapes = self.keep_escapes, keep_escapes
        self.depth += 1
        try:
            return self._until(stop)
        finally:
            self.keep_escapes = outer
            self.depth -= 1

    def _until(self, stop: str) -> tuple[str, list[str]]:
        text: list[str] = []
        words = _Words()
        while char := self.peek():
            if char == stop:
                self.position += 1
                return "".join(text), words.finish()
            if char == "$":
                part = self.dollar()
                words.add_split(part)
            elif char == self.escape:
                part = self.escaped()
                words.add_raw(part)
            elif char in "'\"" and not self.mode.plain_quotes:
                part = self.single_quoted() if char == "'" else self.double_quoted()
                words.add_raw(part)
            elif char == "<":
                part = self.heredoc_opener()
                words.add_raw(part)
            else:
                part = self.plain_text(stop)
                words.add_split(part)
            text.append(part)
        if stop:
            raise _SyntaxError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(text), words.finish()

    def plain_text(self, stop: str) -> str:
        """Take a run of characters without any meaning."""
        match = self.plain.match(self.source, self.position)
        end = match.end() if match is not None else self.position + 1
        if stop and (found := self.source.find(stop, self.position, end)) >= 0:
            end = found
        part = self.source[self.position : end]
        self.position = end
        return part

    def escaped(self) -> str:
        """Take an escape and the character behind it, which is literal."""
        mark = self.take()
        char = self.take()
        return mark + char if self.keep_escapes else char

    def heredoc_opener(self) -> str:
        """`<<` and the blanks behind it, which belong to the word of a here-document."""
        start = self.position
        self.position += 1
        if self.peek() == "<":
            self.position += 1
            while (char := self.peek()) and is_space(char):
                self.position += 1
        return self.source[start : self.position]

    def single_quoted(self) -> str:
        """Literal up to the next quote; nothing can be escaped."""
        end = self.source.find("'", self.position + 1)
        if end < 0:
            self.position = len(self.source)
            raise _SyntaxError(
                "unexpected end of statement while looking for matching single-quote"
            )
        start, self.position = self.position, end + 1
        return (
            self.source[start : end + 1] if self.mode.keep_quotes else self.source[start + 1 : end]
        )

    def double_quoted(self) -> str:
        """Literal but for variables, and escapes of the quote, `$` and the escape character."""
        mark = self.take() if self.mode.keep_quotes else self.take()[:0]
        text = [mark]
        while char := self.peek():
            if char == '"':
                self.position += 1
                text.append(mark)
                return "".join(text)
            if char == "$":
                text.append(self.dollar())
                continue
            self.position += 1
            if char == self.escape:
                if self.keep_escapes:
                    text.append(char)
                following = self.peek()
                if not following:
                    break
                if following in {'"', "$", self.escape}:
                    char = self.take()
            text.append(char)
        raise _SyntaxError("unexpected end of statement while looking for matching double-quote")

    def dollar(self) -> str:
        """Take a variable. No text may grow without end: a few lines can double it to any size."""
        found = self.variable()
        self.grown += len(found)
        if self.grown > MAX_GROWTH:
            raise _SyntaxError(f"variables add more than {MAX_GROWTH} characters")
        return found

    def variable(self) -> str:
        """`$name` or `${name…}`; a dollar before anything else stands for itself."""
        self.position += 1
        if self.peek() == "{":
            return self.braces()
        name = self.name()
        if not name:
            return "$"
        value = self.lookup(name)
        if value is None:
            return f"${name}" if self.mode.keep_unset else ""
        return value

    def braces(self) -> str:
        """`{ name [ modifier ] }` behind a dollar."""
        self.position += 1
        following = self.peek()
        if not following:
            raise _SyntaxError("syntax error: missing '}'")
        if following in "{}:":
            raise _SyntaxError("syntax error: bad substitution")
        name = self.name()
        modifier = self.take()
        if modifier == "}":
            value = self.lookup(name)
            if value is None:
                return f"${{{name}}}" if self.mode.keep_unset else ""
            return value
        if modifier == "/":
            return self.replacement(name)
        if modifier == ":":
            modifier += self.take() or _END
        if modifier in {"#", "%"}:
            return self.removal(name, modifier)
        if modifier[:1] != ":" and modifier not in {"-", "+", "?"}:
            raise _SyntaxError(f"unsupported modifier ({modifier or _END}) in substitution")
        return self.default(name, modifier)

    def default(self, name: str, modifier: str) -> str:
        """[ ":" ] ( "-" | "+" | "?" ) word."""
        kind = modifier[-1]
        if modifier in {":#", ":%"}:
            raise _SyntaxError(f"unsupported modifier ({modifier}) in substitution")
        word = self.operand("}", "missing '}'", keep_escapes=False)
        value = self.lookup(name)
        if value is None and self.mode.keep_unset:
            return f"${{{name}{modifier}{word}}}"
        is_absent = value is None or (len(modifier) == 2 and not value)
        # What a variable becomes that is there, and one that isn't.
        choices = {"-": (value, word), "+": (word, ""), "?": (value, None)}
        if kind not in choices:
            raise _SyntaxError(f"unsupported modifier ({modifier}) in substitution")
        chosen = choices[kind][is_absent]
        if chosen is None:
            reason = f"is not allowed to be {'unset' if value is None else 'empty'}"
            raise _SyntaxError(f"{name}: {word or reason}")
        return chosen

    def removal(self, name: str, modifier: str) -> str:
        """( "#" | "##" | "%" | "%%" ) pattern."""
        pattern = self.operand("}", "missing '}'", keep_escapes=True)
        value = self.lookup(name)
        if value is None and self.mode.keep_unset:
            return f"${{{name}{modifier}{pattern}}}"
        is_longest = pattern.startswith(modifier)
        remove = remove_prefix if modifier == "#" else remove_suffix
        try:
            return remove(value or "", pattern[is_longest:], longest=is_longest)
        except PatternError as error:
            raise _SyntaxError(str(error)) from None

    def replacement(self, name: str) -> str:
        """( "/" | "//" ) pattern "/" word; `name` and the first slash are behind us."""
        replace_all = self.peek() == "/"
        self.position += replace_all
        pattern = self.operand("/", "missing '/' in ${}", keep_escapes=True)
        new = self.operand("}", "missing '}'", keep_escapes=True)
        value = self.lookup(name)
        if value is None and self.mode.keep_unset:
            return f"${{{name}/{pattern}/{new}}}"
        try:
            return replace(value or "", pattern, new, every=replace_all)
        except PatternError as error:
            raise _SyntaxError(str(error)) from None

    def operand(self, stop: str, missing: str, *, keep_escapes: bool) -> str:
        """Process up to `stop`; at the end of input any error becomes that of the missing `stop`."""
        try:
            return self.until(stop, keep_escapes)[0]
        except _SyntaxError:
            if self.peek():
                raise
            raise _SyntaxError(f"syntax error: {missing}") from None

    def name(self) -> str:
        """Take a name: digits, or one special character, or letters, digits and `_`."""
        start = self.position
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif first and first in _SPECIAL:
            self.position += 1
        else:
            while (char := self.peek()).isalpha() or char == "_" or char.isdecimal():
                self.position += 1
        return self.source[start : self.position]

    def lookup(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value


_PLAIN_RUNS: dict[tuple[str, bool], re.Pattern[str]] = {}


def _plain_run(escape: str, *, plain_quotes: bool) -> re.Pattern[str]:
    key = escape, plain_quotes
    if key not in _PLAIN_RUNS:
        quotes = "" if plain_quotes else "'\""
        _PLAIN_RUNS[key] = re.compile(f"[^$<{quotes}{re.escape(escape)}]+")
    return _PLAIN_RUNS[key]
