"""A Dockerfile's text -> statements (`parse_lines`) -> typed stages of instructions (`parse`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from polyarch.dockerfile.lexer import Directive, Heredoc, Lexer, LogicalLine, Warning
from polyarch.dockerfile.words import Statement, split_statement
from polyarch.errors import DockerfileError
from polyarch.graph.location import Location, SourceText

__all__ = ["ParsedLine", "ParsedText", "parse_lines"]

_WITH_HEREDOCS = frozenset(("add", "copy", "run"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedLine:
    """An instruction, cut into its parts, with what belongs to it."""

    statement: Statement
    heredocs: tuple[Heredoc, ...]
    location: Location
    """Its lines, here-documents included."""
    comments: tuple[str, ...]
    """The comment lines directly above, without `#` and outer blanks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedText:
    """A text, cut into instructions."""

    escape: str
    directives: tuple[Directive, ...]
    lines: tuple[ParsedLine, ...]
    warnings: tuple[Warning, ...]


def parse_lines(source: SourceText) -> ParsedText:
    """Cut a text into instructions. Unknown ones and wrong arguments are no errors yet.

    Raises DockerfileError with its place.
    """
    lexer = Lexer(source)
    lines: list[ParsedLine] = []
    while (line := lexer.next_line()) is not None:
        lines.append(_parse_line(lexer, line))
    if not lines:
        raise DockerfileError("file with no instructions", place=lexer.place())
    lexer.check_end()
    return ParsedText(
        escape=lexer.escape,
        directives=tuple(lexer.directives),
        lines=tuple(lines),
        warnings=tuple(lexer.warnings),
    )


def _parse_line(lexer: Lexer, line: LogicalLine) -> ParsedLine:
    location = Location(source=lexer.source, start=line.start, end=line.end)
    try:
        statement = split_statement(line.text, escape=lexer.escape)
        heredocs = lexer.read_heredocs(line) if _may_have_heredocs(statement) else ()
    except DockerfileError as error:
        if error.place is None:
            error.place = location
        raise
    return ParsedLine(
        statement=statement,
        heredocs=heredocs,
        location=replace(location, end=lexer.line),
        comments=line.comments,
    )


def _may_have_heredocs(statement: Statement) -> bool:
    if "<<" not in statement.text:
        return False
    inner = statement.trigger or statement
    return inner.name in _WITH_HEREDOCS and not inner.is_json
