"""Answers the questions of the unit tables; one section for each table."""

from __future__ import annotations

import dataclasses

from polyarch.dockerfile.expand import DISPLAY, HEREDOC, WORD, expand, expand_words, expansion
from polyarch.dockerfile.instruction import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    Transfer,
    User,
    Volume,
    Workdir,
)
from polyarch.dockerfile.lexer import find_directive
from polyarch.dockerfile.mount import Mount, parse_mount
from polyarch.dockerfile.parser import Dockerfile, parse, parse_lines
from polyarch.dockerfile.typed import ParsedLine
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


# dockerfile_stages: from text to typed instructions


def dockerfile_stages(text: str) -> Json:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    return {
        "arguments": [_instruction(arg, dockerfile) for arg in dockerfile.global_args],
        "stages": [
            {
                "name": stage.name,
                "base": stage.base,
                "platform": stage.platform,
                "line": stage.location.start,
                "instructions": [_instruction(item, dockerfile) for item in stage.instructions],
            }
            for stage in dockerfile.stages
        ],
    }


def _instruction(item: Instruction, dockerfile: Dockerfile) -> dict[str, Json]:
    return {
        "name": item.name.lower(),
        "line": item.location.start,
        **_fields(item, dockerfile),
    }


def _fields(item: Instruction, dockerfile: Dockerfile) -> dict[str, Json]:
    match item:
        case Arg():
            return {
                "args": [{"name": one.name, "default": one.default} for one in item.definitions]
            }
        case Env() | Label():
            return {"pairs": item.pairs}
        case Copy():
            return {**_transfer(item), "from": item.from_name, "parents": item.parents}
        case Add():
            names = ("keep_git_dir", "unpack", "checksum")
            return {**_transfer(item), **{name: getattr(item, name) for name in names}}
        case Run():
            return _run(item, dockerfile)
        case Cmd() | Entrypoint():
            return {"arguments": item.arguments, "shell": item.shell, "files": []}
        case Healthcheck():
            names = ("test", "interval", "timeout", "start_period", "start_interval", "retries")
            return {name: getattr(item, name) for name in names}
        case Expose():
            return {"ports": item.ports}
        case Volume():
            return {"paths": item.paths}
        case Shell():
            return {"arguments": item.arguments}
        case _:
            return {"text": _text(item)}


def _text(item: Instruction) -> str:
    match item:
        case User():
            return item.user
        case Workdir():
            return item.path
        case StopSignal():
            return item.signal
        case Maintainer():
            return item.author
        case Onbuild():
            return item.trigger
        case _:
            raise TypeError(item)


def _transfer(item: Transfer) -> dict[str, Json]:
    names = ("sources", "destination", "chown", "chmod", "link", "exclude")
    contents = [
        {"name": content.name, "content": content.body, "expand": content.expand}
        for content in item.contents
    ]
    return {**{name: getattr(item, name) for name in names}, "contents": contents}


def _run(item: Run, dockerfile: Dockerfile) -> dict[str, Json]:
    files = [
        {"name": file.name, "content": file.content, "strip_tabs": file.strip_tabs}
        for file in item.heredocs
    ]

    def expand_value(value: str) -> str:
        return expand(value, {}, escape=dockerfile.escape)

    return {
        "arguments": item.arguments,
        "shell": item.shell,
        "files": files,
        "mounts": [_mount(parse_mount(text, expand_value)) for text in item.mounts],
        "network": item.network,
        "security": item.security,
    }


def _mount(mount: Mount) -> dict[str, Json]:
    fields: dict[str, Json] = dataclasses.asdict(mount)
    fields["from"] = fields.pop("from_name")
    return fields
