"""A Dockerfile's text -> statements (`parse_lines`) -> typed stages of instructions (`parse`)."""

from __future__ import annotations

from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.syntax.instruction import Arg, Instruction, Stage
from polyarch.dockerfile.syntax.lexer import Directive, Lexer, LogicalLine, ParseWarning
from polyarch.dockerfile.syntax.line import ParsedLine
from polyarch.dockerfile.syntax.statement import Statement, split_statement
from polyarch.dockerfile.syntax.typed import parse_instruction
from polyarch.errors import DockerfileError
from polyarch.graph.location import Location, SourceText
from polyarch.record import frozen, replace

__all__ = ["Dockerfile", "ParsedText", "parse", "parse_lines", "parse_trigger"]

_NO_INSTRUCTION = "a Dockerfile begins with FROM and the name of an image"
_WITH_HEREDOCS = frozenset(("add", "copy", "run"))


@frozen
class ParsedText:
    """A text, cut into instructions."""

    escape: str
    directives: tuple[Directive, ...]
    lines: tuple[ParsedLine, ...]
    warnings: tuple[ParseWarning, ...]


@frozen
class Dockerfile:
    """A Dockerfile: the ARGs before the first FROM, and the stages. Nothing is expanded."""

    source: SourceText
    escape: str
    directives: tuple[Directive, ...]
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[ParseWarning, ...]

    def find_directive(self, name: str) -> Directive | None:
        """The parser directive `name` (`check`, `escape`, `syntax`), if it is there."""
        return next((found for found in self.directives if found.name == name), None)


def parse(source: SourceText, lint: Linter | None = None) -> Dockerfile:
    """Parse a Dockerfile. It may lack stages; whoever wants one says so.

    `lint` is told of all that is parsed. Raises DockerfileError with its place.
    """
    lint = lint or Linter()
    if not source.text:
        raise DockerfileError(
            "the Dockerfile cannot be empty", hint=_NO_INSTRUCTION, place=Lexer(source).place()
        )
    lint.begin(source)
    parsed = parse_lines(source)
    lint.empty_continuations(parsed.warnings, source)
    global_args: list[Arg] = []
    stages: list[Stage] = []
    instructions: list[Instruction] = []
    for line in parsed.lines:
        lint.reading(line)
        item = parse_instruction(line)
        lint.parsed(item)
        if isinstance(item, Stage):
            _close_stage(stages, instructions)
            stages.append(item)
        elif stages:
            instructions.append(item)
        elif isinstance(item, Arg):
            global_args.append(item)
        else:
            raise DockerfileError(
                "no build stage in current context",
                hint="only ARG may stand before the first FROM",
                place=line.location,
            )
    _close_stage(stages, instructions)
    return Dockerfile(
        source=source,
        escape=parsed.escape,
        directives=parsed.directives,
        global_args=tuple(global_args),
        stages=tuple(stages),
        warnings=parsed.warnings,
    )


def parse_trigger(text: str, location: Location) -> Instruction:
    """Parse what an image's ONBUILD holds; `location` is where it takes effect, a FROM.

    Raises DockerfileError at that place.
    """
    source = SourceText(name="ONBUILD", text=text)
    try:
        lines = parse_lines(source).lines
        if len(lines) != 1:
            raise DockerfileError("onbuild trigger should be a single expression")
        item = parse_instruction(lines[0])
    except DockerfileError as error:
        raise DockerfileError(str(error), hint=error.hint, place=location) from error
    if isinstance(item, Stage):
        raise DockerfileError("FROM isn't allowed as an ONBUILD trigger", place=location)
    return replace(item, location=location)


def parse_lines(source: SourceText) -> ParsedText:
    """Cut a text into instructions. Unknown ones and wrong arguments are no errors yet.

    Raises DockerfileError with its place.
    """
    lexer = Lexer(source)
    lines: list[ParsedLine] = []
    while (line := lexer.next_line()) is not None:
        lines.append(_parse_line(lexer, line))
    if not lines:
        raise DockerfileError(
            "file with no instructions",
            hint=_NO_INSTRUCTION,
            place=lexer.place(),
        )
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


def _close_stage(stages: list[Stage], instructions: list[Instruction]) -> None:
    """Give the last stage its instructions."""
    if stages:
        stages[-1] = replace(stages[-1], instructions=tuple(instructions))
    instructions.clear()
