"""Answers the questions of the unit tables; one section for each table."""

from __future__ import annotations

from polyarch.dockerfile.expand import DISPLAY, HEREDOC, WORD, expand, expand_words, expansion
from polyarch.dockerfile.lexer import find_directive
from polyarch.dockerfile.parser import ParsedLine, parse_lines
from polyarch.dockerfile.words import Statement
from polyarch.graph.location import SourceText

Json = object


# shell: words of Dockerfiles

_MODES = {"word": WORD, "heredoc": HEREDOC, "display": DISPLAY}


def shell(word: str, env: dict[str, str], escape: str, mode: str) -> Json:
    if mode == "words":
        return expand_words(word, env, escape=escape)
    return expand(word, env, escape=escape, mode=_MODES[mode])


def shell_names(word: str, env: dict[str, str], escape: str) -> Json:
    result = expansion(word, env, escape=escape)
    return {"matched": sorted(result.matched), "unmatched": sorted(result.unmatched)}


# dockerfile_parse: from text to instructions


def dockerfile_parse(text: str) -> Json:
    parsed = parse_lines(SourceText(name="Dockerfile", text=text))
    return {
        "escape": parsed.escape,
        "instructions": [_parsed_line(line) for line in parsed.lines],
        "warnings": parsed.warnings,
    }


def _parsed_line(line: ParsedLine) -> dict[str, Json]:
    return {
        **_statement(line.statement),
        "start_line": line.location.start,
        "end_line": line.location.end,
        "comments": line.comments,
        "heredocs": line.heredocs,
    }


def _statement(statement: Statement) -> dict[str, Json]:
    is_paired = statement.name in {"env", "label"}
    fields: dict[str, Json] = {
        "name": statement.name,
        "flags": statement.flags,
        "arguments": statement.pairs if is_paired else statement.arguments,
        "json": statement.is_json,
        "text": statement.text,
    }
    if statement.trigger is not None:
        fields["trigger"] = {**_statement(statement.trigger), "heredocs": []}
    return fields


def dockerfile_directive(key: str, text: str) -> Json:
    directive = find_directive(key, text)
    if directive is None:
        return None
    return {"word": directive.word, "value": directive.value, "line": directive.line}
