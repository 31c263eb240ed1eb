"""A Dockerfile's text -> logical lines: directives, comments, continuations, here-documents.

A logical line is an instruction with its continuation lines joined. Which lines belong to a
here-document only the instruction tells, so the parser asks for them (`Lexer.read_heredocs`) before it
asks for the next logical line.

Lines end with a line feed only; a carriage return before it is dropped from instructions and kept in
here-documents. The behaviour is that of BuildKit's `frontend/dockerfile/parser`.
"""

from __future__ import annotations

import re

from polyarch.dockerfile.expand.expand import RAW, Mode, expand_words
from polyarch.errors import DockerfileError
from polyarch.golang.json import read_json
from polyarch.golang.unicode import SPACE
from polyarch.graph.location import Location, SourceText
from polyarch.pattern import pattern
from polyarch.progress import check_cancelled
from polyarch.record import frozen

__all__ = [
    "Directive",
    "Heredoc",
    "Lexer",
    "LogicalLine",
    "ParseWarning",
    "decode",
    "find_directive",
    "heredoc_from_word",
    "heredoc_openers",
]

MAX_LINE = 65535
"""The longest line in bytes, without its line feed."""

_BOM = "\ufeff"
_BLANK = r"[\t\n\f\r ]"  # what \s is in Go
_DIRECTIVE = pattern(rf"([a-zA-Z][a-zA-Z0-9]*){_BLANK}*={_BLANK}*(.+?){_BLANK}*\Z")
_DIRECTIVES = frozenset(("check", "escape", "syntax"))
_HEREDOC = pattern(rf"([0-9]*)<<(-?){_BLANK}*([^<]*)")
_CONTINUED = {mark: pattern(rf"(?<!{re.escape(mark)}){re.escape(mark)}[ \t]*\Z") for mark in "\\`"}
_LEADING_TABS = pattern(r"^\t+", re.MULTILINE)
_KEEP_UNSET = Mode(keep_unset=True)
_KEEP_QUOTES = Mode(keep_unset=True, keep_quotes=True)


@frozen
class Directive:
    """A parser directive, `# name=value`; `name` is in lower case, `line` counted from 1.

    `word` is the first word of the value: the image that `syntax` names (all of it in JSON).
    """

    name: str
    value: str
    word: str
    line: int


@frozen
class Heredoc:
    """A here-document; `content` is as written, with the tabs that `strip_tabs` takes away."""

    name: str
    content: str = ""
    expand: bool = True
    """Whether variables are expanded: no part of the name was quoted."""
    strip_tabs: bool = False
    fd: int = 0

    @property
    def body(self) -> str:
        """The content as it is used."""
        return _LEADING_TABS.sub("", self.content) if self.strip_tabs else self.content


@frozen
class ParseWarning:
    """Something that is allowed, but shouldn't be done."""

    message: str
    line: int


@frozen
class LogicalLine:
    """An instruction's text, lines joined, and the lines that it was on, counted from 1."""

    text: str
    start: int
    end: int
    comments: tuple[str, ...]
    """The comment lines above, without `#` and outer blanks."""


def decode(data: bytes) -> str:
    """Decode a Dockerfile; what isn't UTF-8 becomes U+FFFD, as it does in BuildKit's words."""
    return data.decode("utf-8", "replace")


class Lexer:
    """Reads a source line by line; `escape`, `directives` and `warnings` grow on the way."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.escape = "\\"
        self.directives: list[Directive] = []
        self.warnings: list[ParseWarning] = []
        self.line = 0
        self._lines = _lines(source.text)
        self._in_directives = True

    def next_line(self) -> LogicalLine | None:
        """Return the next logical line, None at the end.

        Raises DockerfileError for a directive that is wrong or there twice.
        """
        comments: list[str] = []
        while (raw := self._read()) is not None:
            is_comment = _is_comment(raw)
            if is_comment:
                _add_comment(comments, raw)
            start = self.line
            text = raw.rstrip("\r\n").lstrip(SPACE)
            if self._in_directives and self._read_directive(text):
                comments.pop()
            text, is_done = self._trim_continuation("" if is_comment else text)
            if is_done and not text:
                continue
            if not is_done:
                text = self._continuation(text)
            return LogicalLine(text=text, start=start, end=self.line, comments=tuple(comments))
        return None

    def read_heredocs(self, line: LogicalLine) -> tuple[Heredoc, ...]:
        """Read the bodies of the here-documents that the line opens.

        Raises DockerfileError if one isn't ended.
        """
        found = []
        for opener in heredoc_openers(line.text):
            content = self._heredoc_content(opener)
            if content is None:
                place = Location(source=self.source, start=line.start, end=self.line)
                raise DockerfileError("unterminated heredoc", place=place)
            found.append(
                Heredoc(
                    name=opener.name,
                    content=content,
                    expand=opener.expand,
                    strip_tabs=opener.strip_tabs,
                    fd=opener.fd,
                )
            )
        return tuple(found)

    def check_end(self) -> None:
        """Raise DockerfileError if reading ended before the text did, for a line that is too long."""
        if self.line < len(self._lines):
            raise DockerfileError(
                f"dockerfile line greater than max allowed size of {MAX_LINE}", place=self.place()
            )

    def place(self) -> Location:
        """Where reading has got to."""
        line = max(1, self.line)
        return Location(source=self.source, start=line, end=line)

    def _read(self) -> str | None:
        if self.line == len(self._lines):
            return None
        check_cancelled()
        line = self._lines[self.line]
        # A character has up to four bytes, so that only few lines need be encoded to know.
        if len(line) > MAX_LINE // 4 and len(line.removesuffix("\n").encode()) > MAX_LINE:
            return None
        self.line += 1
        return line

    def _read_directive(self, text: str) -> bool:
        """Take a directive, if the line is one; the first line that isn't ends the directives."""
        directive = _directive(text, "#", self.line)
        if directive is None:
            self._in_directives = False
            return False
        # BuildKit places errors of directives one line too early; who compares both would see it.
        place = Location(source=self.source, start=max(1, self.line - 1), end=max(1, self.line - 1))
        if any(directive.name == other.name for other in self.directives):
            raise DockerfileError(
                f"only one {directive.name} parser directive can be used", place=place
            )
        if directive.name == "escape":
            if directive.value not in _CONTINUED:
                raise DockerfileError(
                    f"invalid escape token '{directive.value}' does not match ` or \\", place=place
                )
            self.escape = directive.value
        self.directives.append(directive)
        return True

    def _trim_continuation(self, text: str) -> tuple[str, bool]:
        match = _CONTINUED[self.escape].search(text)
        return (text, True) if match is None else (text[: match.start()], False)

    def _continuation(self, first: str) -> str:
        """Join the lines that continue an instruction; comments and empty lines are left out."""
        parts = [first]
        has_empty_line = False
        is_done = False
        while not is_done and (raw := self._read()) is not None:
            if _is_comment(raw):
                continue
            text = raw.rstrip("\r\n")
            if not text.strip(SPACE):
                has_empty_line = True
                continue
            text, is_done = self._trim_continuation(text)
            parts.append(text)
        if has_empty_line:
            message = f"Empty continuation line found in: {''.join(parts)}"
            self.warnings.append(ParseWarning(message=message, line=self.line))
        return "".join(parts)

    def _heredoc_content(self, opener: Heredoc) -> str | None:
        content: list[str] = []
        while (raw := self._read()) is not None:
            end = raw.rstrip("\r\n")
            if (end.lstrip("\t") if opener.strip_tabs else end) == opener.name:
                return "".join(content)
            content.append(raw)
        return None


def find_directive(key: str, text: str) -> Directive | None:
    """Find the parser directive `key` in a text that need not be a Dockerfile.

    A first line that begins with `#!` is skipped. `syntax` is also found in `//` comments and in a JSON
    object (then `line` is 0, or 1 behind a `#!` line). Never raises.
    """
    text = text.removeprefix(_BOM)
    skipped = 0
    if text.startswith("#!"):
        text = text.partition("\n")[2]
        skipped = 1
    for comment in ("#", "//") if key == "syntax" else ("#",):
        for directive in _leading_directives(text, comment, skipped):
            if directive.name == key:
                return directive
    return _json_directive(text, skipped) if key == "syntax" else None


def heredoc_from_word(word: str) -> Heredoc | None:
    """Read the opener of a here-document, `[fd]<<[-]NAME`, from a word that still has its quotes.

    Raises DockerfileError if quotes in the name don't end.
    """
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    name = expand_words(match[3], {}, mode=_KEEP_UNSET)
    if len(name) != 1:
        return None
    quoted = expand_words(match[3], {}, mode=_KEEP_QUOTES)
    return Heredoc(
        name=name[0],
        # Escaped quotes are in both; a quote that only one has did quote something.
        expand=_count_quotes(name[0]) == _count_quotes("".join(quoted)),
        strip_tabs=match[2] == "-",
        fd=int(match[1][:19] or "0"),
    )


def _count_quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def heredoc_openers(text: str) -> list[Heredoc]:
    """Return the here-documents, without their content, that an instruction opens as a shell would."""
    try:
        words = expand_words(text, {}, mode=RAW)
    except DockerfileError:
        return []  # what a shell makes of the quotes is its own business
    openers = (heredoc_from_word(word) for word in words)
    return [opener for opener in openers if opener is not None]


def _lines(text: str) -> list[str]:
    """Split at line feeds, which the lines keep; the last line may have none."""
    *lines, last = text.removeprefix(_BOM).split("\n")
    lines = [f"{line}\n" for line in lines]
    return [*lines, last] if last else lines


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACE).startswith("#")


def _add_comment(comments: list[str], raw: str) -> None:
    """Add a comment line; an empty one parts those above from the instruction."""
    # The first character goes, be it the `#` or a blank before it: so does BuildKit.
    if comment := raw[1:].strip(SPACE):
        comments.append(comment)
    else:
        comments.clear()


def _directive(text: str, comment: str, line: int) -> Directive | None:
    if not text.startswith(comment):
        return None
    match = _DIRECTIVE.match(text.removeprefix(comment).lstrip(SPACE))
    if match is None or match[1].lower() not in _DIRECTIVES:
        return None
    value = match[2]
    return Directive(name=match[1].lower(), value=value, word=value.partition(" ")[0], line=line)


def _leading_directives(text: str, comment: str, skipped: int) -> list[Directive]:
    found: dict[str, Directive] = {}
    for line, raw in enumerate(text.split("\n"), skipped + 1):
        directive = _directive(raw.removesuffix("\r"), comment, line)
        if directive is None or directive.name in found:
            break
        found[directive.name] = directive
    return list(found.values())


def _json_directive(text: str, line: int) -> Directive | None:
    try:
        document = read_json(text)
    except ValueError:
        return None
    value = document.get("syntax") if isinstance(document, dict) else None
    if not isinstance(value, str):
        return None
    return Directive(name="syntax", value=value, word=value, line=line)
