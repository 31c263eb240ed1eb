"""Answers the questions of the unit tables; one section for each table."""

from __future__ import annotations

from polyarch.dockerfile.expand.expand import (
    DISPLAY,
    HEREDOC,
    WORD,
    expand,
    expand_words,
    expansion,
)
from polyarch.dockerfile.parser import Dockerfile, parse, parse_lines
from polyarch.dockerfile.syntax.instruction import (
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
    User,
    Volume,
    Workdir,
)
from polyarch.dockerfile.syntax.lexer import find_directive
from polyarch.dockerfile.syntax.line import ParsedLine
from polyarch.dockerfile.syntax.mount import Mount, parse_mount
from polyarch.dockerfile.syntax.statement import Statement
from polyarch.graph.location import SourceText
from polyarch.record import asdict
from polyarch.text.ignore import Matcher, clean_path, read_patterns
from tests.support.dockerfiles.ignoring import kept_files

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


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_TRANSFER = _same("sources", "destination", "chown", "chmod", "link", "exclude")
_ATTRIBUTES: dict[type[Instruction], dict[str, str]] = {
    Add: _TRANSFER | _same("checksum", "keep_git_dir", "unpack"),
    Arg: {},
    Cmd: _same("arguments", "shell"),
    Copy: _TRANSFER | _same("parents") | {"from": "from_name"},
    Entrypoint: _same("arguments", "shell"),
    Env: _same("pairs"),
    Expose: _same("ports"),
    Healthcheck: _same("test", "interval", "timeout", "start_period", "start_interval", "retries"),
    Label: _same("pairs"),
    Maintainer: {"text": "author"},
    Onbuild: {"text": "trigger"},
    Run: _same("arguments", "shell", "network", "security"),
    Shell: _same("arguments"),
    StopSignal: {"text": "signal"},
    User: {"text": "user"},
    Volume: _same("paths"),
    Workdir: {"text": "path"},
}


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
    fields: dict[str, Json] = {
        key: getattr(item, attribute) for key, attribute in _ATTRIBUTES[type(item)].items()
    }
    if isinstance(item, Arg):
        fields["args"] = [{"name": one.name, "default": one.default} for one in item.definitions]
    if isinstance(item, Add | Copy):
        fields["contents"] = [
            {"name": content.name, "content": content.body, "expand": content.expand}
            for content in item.contents
        ]
    if isinstance(item, Cmd | Entrypoint):
        fields["files"] = []
    if isinstance(item, Run):
        fields.update(_run(item, dockerfile.escape))
    return fields


def _run(item: Run, escape: str) -> dict[str, Json]:
    def expand_value(value: str) -> str:
        return expand(value, {}, escape=escape)

    return {
        "files": [
            {"name": file.name, "content": file.content, "strip_tabs": file.strip_tabs}
            for file in item.heredocs
        ],
        "mounts": [_mount(parse_mount(text, expand_value)) for text in item.mounts],
    }


def _mount(mount: Mount) -> dict[str, Json]:
    fields: dict[str, Json] = asdict(mount)
    fields["from"] = fields.pop("from_name")
    fields["sharing"] = mount.sharing or ""
    return fields


# ignore: .dockerignore


def ignore_read(text: str) -> Json:
    return read_patterns(text)


def ignore_match(patterns: list[str], path: str) -> Json:
    return Matcher(patterns).ignores(clean_path(path))


def ignore_context(text: str, files: list[str]) -> Json:
    return kept_files(read_patterns(text), files)
