"""Texts of HCL, in quotes and as heredocs, with `${…}` and `%{…}` in them -> a tree.

Source: HCL's native syntax specification, "Template Expressions".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from polyarch.bakefile.hcl.nodes import Conditional, Expression, For, Join, Literal, Template, Wrap
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.scanner import Token, TokenKind
from polyarch.bakefile.hcl.values import string
from polyarch.pattern import pattern

if TYPE_CHECKING:
    from polyarch.bakefile.hcl.expressions import Parser

__all__ = ["heredoc", "label", "quoted", "whole_template"]

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_UNICODE = pattern(r"u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_HEAD = pattern(r"<<(-?)([^\W\d][\w-]*)")


class _Text(NamedTuple):
    content: str
    at: Range


class _Value(NamedTuple):
    inner: Expression
    at: Range


class _Directive(NamedTuple):
    """`word` is if, else, endif, for or endfor; of a `for`, `names` are its two names."""

    word: str
    at: Range
    inner: Expression | None = None
    names: tuple[str, str] = ("", "")


_Part = _Text | _Value | _Directive


def quoted(parser: Parser, opening: Token) -> Expression:
    """Read what follows a quote up to the closing one, which is read as well. Raises HclError."""
    parts = _Parts(parser, opening.start)
    parts.read_quoted()
    return _template(parts.found, parser.range(opening.start, parser.position))


def label(parser: Parser, opening: Token) -> str:
    """Read what follows a quote as a text without templates."""
    parts = _Parts(parser, opening.start)
    parts.read_quoted()
    for each in parts.found:
        if not isinstance(each, _Text):
            raise HclError(
                "Invalid string literal",
                'Template sequences are not allowed in this string. To include a literal "$", double it (as "$$") to escape it.',
                each.at,
            )
    return "".join(each.content for each in parts.found if isinstance(each, _Text))


def heredoc(parser: Parser, opening: Token) -> Expression:
    """Read what follows `<<MARKER` and its line's end, up to the marker on a line of its own."""
    match = _HEAD.match(opening.text)
    assert match is not None
    parts = _Parts(parser, opening.start)
    parts.read_heredoc(match[2])
    if match[1]:
        _flush(parts.found)
    return _template(parts.found, parser.range(opening.start, parser.position))


def whole_template(parser: Parser) -> Expression:
    """Read all of a parser's text as a template, as JSON's strings are."""
    parts = _Parts(parser, 0)
    parts.read_all()
    return _template(parts.found, parser.range(0, len(parser.text)))


class _Parts:
    """Collects the parts of one template."""

    def __init__(self, parser: Parser, start: int) -> None:
        self.found: list[_Part] = []
        self._parser = parser
        self._text = parser.text
        self._start = start
        self._literal: list[str] = []
        self._literal_start = parser.position
        self._trims_next = False

    def read_quoted(self) -> None:
        parser = self._parser
        while True:
            char = self._text[parser.position : parser.position + 1]
            if char == '"':
                self._end_literal()
                parser.position += 1
                return
            if char in {"", "\n"}:
                raise self._unterminated(char)
            if char == "\\":
                self._escape()
            elif not self._sequence():
                self._literal.append(char)
                parser.position += 1

    def _unterminated(self, char: str) -> HclError:
        position = self._parser.position
        if char:
            return HclError(
                "Invalid multi-line string",
                'Quoted strings may not be split over multiple lines. To produce a multi-line string, either use the \\n escape to represent a newline character or use the "heredoc" multi-line template syntax.',
                self._parser.range(position, position + 1),
            )
        return HclError(
            "Unterminated template string",
            "No closing marker was found for the string.",
            self._parser.range(self._start, position),
        )

    def read_heredoc(self, marker: str) -> None:
        parser = self._parser
        while True:
            end = self._text.find("\n", parser.position)
            line = self._text[parser.position : len(self._text) if end < 0 else end]
            if line.strip() == marker:
                parser.position += len(line)
                return
            if end < 0 and not line.strip():
                raise HclError(
                    "Unterminated template string",
                    "No closing marker was found for the string.",
                    parser.range(self._start, len(self._text)),
                )
            self._heredoc_line()

    def _heredoc_line(self) -> None:
        parser = self._parser
        while parser.position < len(self._text):
            if self._sequence():
                continue
            char = self._text[parser.position]
            parser.position += 1
            self._literal.append(char)
            if char == "\n":
                break
        self._end_literal()

    def read_all(self) -> None:
        while self._parser.position < len(self._text):
            if not self._sequence():
                self._literal.append(self._text[self._parser.position])
                self._parser.position += 1
        self._end_literal()

    def _end_literal(self) -> None:
        content = "".join(self._literal)
        self._literal.clear()
        if not content:
            return
        if self._trims_next:
            content = content.lstrip()
        self._trims_next = False
        where = self._parser.range(self._literal_start, self._parser.position)
        self.found.append(_Text(content, where))
        self._literal_start = self._parser.position

    def _escape(self) -> None:
        parser = self._parser
        letter = self._text[parser.position + 1 : parser.position + 2]
        if letter in _ESCAPES:
            self._literal.append(_ESCAPES[letter])
            parser.position += 2
            return
        match = _UNICODE.match(self._text, parser.position + 1)
        code = int(match[1] or match[2], 16) if match else -1
        if match is None or not (0 <= code < 0xD800 or 0xE000 <= code < 0x110000):
            raise HclError(
                "Invalid escape sequence",
                f'The symbol "{letter}" is not a valid escape sequence selector.',
                parser.range(parser.position, parser.position + 2),
            )
        self._literal.append(chr(code))
        parser.position = match.end()

    def _sequence(self) -> bool:
        """Read `${…}` or `%{…}`, or its escaped form, if one is there."""
        parser, text = self._parser, self._text
        start = parser.position
        for mark in "$%":
            if text.startswith(f"{mark}{mark}{{", start):
                self._literal.append(f"{mark}{{")
                parser.position += 3
                return True
        if not text.startswith(("${", "%{"), start):
            return False
        self._end_literal()
        parser.position += 2
        if text.startswith("~", parser.position):
            parser.position += 1
            if self.found and isinstance(self.found[-1], _Text):
                last = self.found[-1]
                self.found[-1] = last._replace(content=last.content.rstrip())
        self._trims_next = False
        with parser.newlines(count=False):
            if text[start] == "$":
                inner = parser.expression()
                self._close("interpolation", inner.at)
                self.found.append(_Value(inner, inner.at))
            else:
                self._directive(start)
        self._literal_start = parser.position
        return True

    def _close(self, what: str, opened: Range) -> None:
        parser = self._parser
        token_at = parser.position
        while self._text[token_at : token_at + 1].isspace():
            token_at += 1
        if self._text.startswith("~}", token_at):
            parser.position = token_at + 2
            self._trims_next = True
            return
        if self._text.startswith("}", token_at):
            parser.position = token_at + 1
            return
        if token_at >= len(self._text):
            raise HclError(
                "Unclosed template interpolation sequence",
                "There is no closing brace for this interpolation sequence before the end of the file. This might be caused by incorrect nesting inside the given expression.",
                parser.range(self._start, token_at),
            )
        del opened
        raise HclError(
            f"Extra characters after {what} expression",
            'Template interpolation doesn\'t expect a colon at this location. Did you intend this to be a literal sequence to be processed as part of another language? If so, you can escape it by starting with "$${" instead of just "${".'
            if self._text[token_at] == ":"
            else "Expected a closing brace to end the interpolation expression, but found extra characters.",
            parser.range(token_at, token_at + 1),
        )

    def _directive(self, start: int) -> None:
        parser = self._parser
        token = parser.peek()
        if token.kind is not TokenKind.IDENT:
            raise HclError(
                "Invalid template directive",
                'A template directive keyword ("if", "for", etc) is expected at the beginning of a %{ sequence.',
                parser.at(token),
            )
        parser.read()
        word, inner, names = token.text, None, ("", "")
        if word == "if":
            inner = parser.expression()
        elif word == "for":
            names = parser.loop_names()
            inner = parser.expression()
        elif word not in {"else", "endif", "endfor"}:
            raise HclError(
                "Invalid template control keyword",
                f'"{word}" is not a valid template control keyword.',
                parser.at(token),
            )
        self._close(word, parser.at(token))
        self.found.append(_Directive(word, parser.range(start, parser.position), inner, names))


def _flush(parts: list[_Part]) -> None:
    """Take away the blanks that all lines begin with."""
    least: int | None = None
    adjusted: list[int] = []
    begins = True
    for number, each in enumerate(parts):
        content = each.content if isinstance(each, _Text) else None
        ends_line = content is not None and content.endswith("\n")
        if begins:
            rest = content.lstrip() if content is not None else ""
            # A line of blanks only says nothing of how far the others are moved in.
            if rest or not ends_line:
                spaces = len(content) - len(rest) if content is not None else 0
                least = spaces if least is None else min(least, spaces)
                if content is not None:
                    adjusted.append(number)
        begins = ends_line
    for number in adjusted:
        text = parts[number]
        assert isinstance(text, _Text)
        parts[number] = text._replace(content=text.content[least or 0 :])


def _template(parts: list[_Part], where: Range) -> Expression:
    if len(parts) == 1 and isinstance(parts[0], _Value):
        return Wrap(parts[0].inner, where)
    builder = _Builder(parts, where)
    return Template(tuple(builder.until(())), where)


class _Builder:
    """Puts the parts between directives into trees."""

    def __init__(self, parts: list[_Part], where: Range) -> None:
        self._parts = parts
        self._next = 0
        self._where = where
        self._ended: _Directive | None = None

    def until(self, words: tuple[str, ...], opened: _Directive | None = None) -> list[Expression]:
        """Return what comes before one of the directives, which is read as well."""
        found: list[Expression] = []
        while self._next < len(self._parts):
            part = self._parts[self._next]
            self._next += 1
            if isinstance(part, _Text):
                found.append(Literal(string(part.content), part.at))
            elif isinstance(part, _Value):
                found.append(part.inner)
            elif part.word in words:
                self._ended = part
                return _melded(found)
            elif part.word in {"if", "for"}:
                found.append(self._if(part) if part.word == "if" else self._loop(part))
            else:
                raise HclError(
                    f"Unexpected {part.word} directive",
                    "The control directives within this template are unbalanced.",
                    part.at,
                )
        if opened is not None:
            raise HclError(
                "Unexpected end of template",
                f"The {opened.word} directive at {opened.at} is missing its corresponding end{opened.word} directive.",
                Range(self._where.source, self._where.end - 1, self._where.end),
            )
        return _melded(found)

    def _if(self, opened: _Directive) -> Expression:
        yes = self.until(("else", "endif"), opened)
        no: list[Expression] = []
        if self._ended is not None and self._ended.word == "else":
            no = self.until(("endif",), opened)
        assert opened.inner is not None
        assert self._ended is not None
        where = opened.at.to(self._ended.at)
        # Without an else there is an empty text.
        branches = [Template(tuple(each), where) for each in (yes, no)]
        return Conditional(opened.inner, branches[0], branches[1], where)

    def _loop(self, opened: _Directive) -> Expression:
        inner = self.until(("endfor",), opened)
        assert opened.inner is not None
        assert self._ended is not None
        where = opened.at.to(self._ended.at)
        key, value = opened.names
        content = Template(tuple(inner), where)
        return Join(For(key, value, opened.inner, None, content, None, False, where), where)


def _melded(parts: list[Expression]) -> list[Expression]:
    """Make one text of texts that follow one another."""
    result: list[Expression] = []
    for each in parts:
        last = result[-1] if result else None
        if isinstance(each, Literal) and isinstance(last, Literal) and isinstance(each.value.raw, str) and isinstance(last.value.raw, str):  # fmt: skip
            joined = string(last.value.raw + each.value.raw)
            result[-1] = Literal(joined, last.at.to(each.at))
        else:
            result.append(each)
    return result
