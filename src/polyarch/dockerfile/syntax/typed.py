"""A parsed line -> the typed instruction, or the beginning of a stage.

Each function here raises DockerfileError without a place, in BuildKit's words
(`frontend/dockerfile/instructions`); `parse_instruction` adds the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from polyarch.dockerfile.syntax.flags import FlagKind, Flags
from polyarch.dockerfile.syntax.instruction import (
    Add,
    Arg,
    Cmd,
    Copy,
    Definition,
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
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from polyarch.dockerfile.syntax.lexer import Heredoc, heredoc_from_word
from polyarch.dockerfile.syntax.line import ParsedLine
from polyarch.dockerfile.syntax.mount import mount_from, parse_device
from polyarch.dockerfile.syntax.statement import Statement
from polyarch.errors import DockerfileError, InputError
from polyarch.golang.strconv import parse_int, quote
from polyarch.golang.time import parse_duration
from polyarch.golang.unicode import SPACE
from polyarch.pattern import pattern
from polyarch.record import replace
from polyarch.text.nearest import suggestion

if TYPE_CHECKING:
    from polyarch.dockerfile.syntax.line import Common

    class _Transfer(Common):
        sources: tuple[str, ...]
        contents: tuple[Heredoc, ...]
        destination: str
        chown: str
        chmod: str
        link: bool
        exclude: tuple[str, ...]


__all__ = ["parse_instruction"]

_MIN_INTERVAL = 1_000_000
_NETWORKS = frozenset(("default", "host", "none"))
_SECURITIES = frozenset(("insecure", "sandbox"))
_STAGE_NAME = pattern(r"[a-z][a-z0-9\-_.]*")
_ONBUILD = pattern(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_TRANSFER_FLAGS = {
    "chmod": FlagKind.TEXT,
    "chown": FlagKind.TEXT,
    "exclude": FlagKind.TEXTS,
    "link": FlagKind.BOOL,
}
_COPY_FLAGS = {**_TRANSFER_FLAGS, "from": FlagKind.TEXT, "parents": FlagKind.BOOL}
_ADD_FLAGS = {
    **_TRANSFER_FLAGS,
    "checksum": FlagKind.TEXT,
    "keep-git-dir": FlagKind.BOOL,
    "unpack": FlagKind.BOOL,
}
_RUN_FLAGS = {
    "device": FlagKind.TEXTS,
    "mount": FlagKind.TEXTS,
    "network": FlagKind.TEXT,
    "security": FlagKind.TEXT,
}
_HEALTHCHECK_FLAGS = {
    "interval": FlagKind.TEXT,
    "retries": FlagKind.TEXT,
    "start-interval": FlagKind.TEXT,
    "start-period": FlagKind.TEXT,
    "timeout": FlagKind.TEXT,
}


def parse_instruction(line: ParsedLine) -> Instruction | Stage:
    """Type an instruction; a FROM is a stage without instructions.

    Raises DockerfileError, `dockerfile parse error on line N: …`, at the line's place.
    """
    statement = line.statement
    try:
        parse = _PARSERS.get(statement.name)
        if parse is None:
            hint = _instruction_hint(statement)
            raise DockerfileError(f"unknown instruction: {statement.keyword}{hint}")
        return parse(line)
    except InputError as error:
        message = f"dockerfile parse error on line {line.location.start}: {error}"
        raise DockerfileError(message, hint=error.hint, place=line.location) from error


def _instruction_hint(statement: Statement) -> str:
    """Suggest an instruction; of equally near ones, one whose letters were only mixed up."""
    letters = sorted(statement.name)
    names = sorted(_PARSERS, key=lambda name: (sorted(name) != letters, name))
    return suggestion(statement.keyword, names, fold_case=True)


def _parse_from(line: ParsedLine) -> Stage:
    match line.arguments:
        case (base, as_keyword, written_name) if as_keyword.lower() == "as":
            _check_stage_name(written_name)
        case (base,):
            as_keyword = written_name = ""
        case _:
            raise DockerfileError("FROM requires either one or three arguments")
    name = written_name.lower()
    flags = line.flags({"platform": FlagKind.TEXT})
    return Stage(
        name=name,
        base=base,
        platform=flags.text("platform"),
        location=line.location,
        text=line.statement.text.strip(SPACE),
        comments=line.comments,
        comment=line.comment_on(name),
        written_name=written_name,
        as_keyword=as_keyword,
    )


def _check_stage_name(name: str) -> None:
    if not _STAGE_NAME.fullmatch(name.lower()):
        raise DockerfileError(
            f"invalid name for build stage: {quote(name)},"
            " name can't start with a number or contain symbols"
        )


def _parse_arg(line: ParsedLine) -> Instruction:
    definitions: list[Definition] = []
    for word in line.some_arguments():
        name, equals, default = word.partition("=")
        if equals and not name:
            raise DockerfileError("ARG names can not be blank")
        definitions.append(
            Definition(
                name=name, default=default if equals else None, comment=line.comment_on(name)
            )
        )
    return Arg(**line.common(), definitions=tuple(definitions))


def _pairs(line: ParsedLine) -> tuple[tuple[str, str], ...]:
    line.flags()
    line.some_arguments()
    pairs = line.statement.pairs
    if not all(key for key, _value in pairs):
        raise DockerfileError(f"{line.statement.name.upper()} names can not be blank")
    return pairs


def _parse_env(line: ParsedLine) -> Instruction:
    return Env(**line.common(), pairs=_pairs(line), is_legacy=line.statement.is_legacy)


def _parse_label(line: ParsedLine) -> Instruction:
    return Label(**line.common(), pairs=_pairs(line), is_legacy=line.statement.is_legacy)


def _transfer_flags(line: ParsedLine, known: Mapping[str, FlagKind]) -> Flags:
    if len(line.arguments) < 2:
        raise DockerfileError(
            f"{line.statement.name.upper()} requires at least two arguments,"
            " but only one was provided. Destination could not be determined"
        )
    return line.flags(known)


def _opener(word: str) -> Heredoc | None:
    try:
        return heredoc_from_word(word)
    except DockerfileError:
        return None  # quotes that don't end: a file's name, then


def _sources(line: ParsedLine) -> tuple[tuple[str, ...], tuple[Heredoc, ...]]:
    *words, destination = line.arguments
    if _opener(destination) is not None:
        raise DockerfileError(
            f"{line.statement.name.upper()} cannot accept a heredoc as a destination"
        )
    contents_of = {heredoc.name: heredoc.content for heredoc in line.heredocs}
    sources: list[str] = []
    contents: list[Heredoc] = []
    for word in words:
        opener = _opener(word)
        if opener is None:
            sources.append(word)
        else:
            contents.append(replace(opener, content=contents_of.get(opener.name, "")))
    return tuple(sources), tuple(contents)


def _transfer(line: ParsedLine, flags: Flags) -> _Transfer:
    sources, contents = _sources(line)
    return {
        **line.common(),
        "sources": sources,
        "contents": contents,
        "destination": line.arguments[-1],
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": bool(flags.find_bool("link")),
        "exclude": flags.texts("exclude"),
    }


def _parse_copy(line: ParsedLine) -> Instruction:
    flags = _transfer_flags(line, _COPY_FLAGS)
    return Copy(
        **_transfer(line, flags),
        from_name=flags.text("from"),
        parents=bool(flags.find_bool("parents")),
    )


def _parse_add(line: ParsedLine) -> Instruction:
    flags = _transfer_flags(line, _ADD_FLAGS)
    return Add(
        **_transfer(line, flags),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.find_bool("keep-git-dir"),
        unpack=flags.find_bool("unpack"),
    )


def _parse_run(line: ParsedLine) -> Instruction:
    flags = line.flags(_RUN_FLAGS)
    devices = tuple(parse_device(text) for text in flags.texts("device"))
    mounts = flags.texts("mount")
    for mount in mounts:
        mount_from(mount)
    network = flags.text("network", "default")
    if network not in _NETWORKS:
        raise DockerfileError(
            f"invalid network mode {quote(network)}", hint="a step has default, host or none"
        )
    security = flags.text("security", "sandbox")
    if security not in _SECURITIES:
        raise DockerfileError(
            f"security {quote(security)} is not valid", hint="a step has sandbox or insecure"
        )
    return Run(
        **line.common(),
        arguments=line.arguments,
        shell=not line.statement.is_json,
        heredocs=line.heredocs,
        mounts=mounts,
        devices=devices,
        network=network,
        security=security,
    )


def _parse_cmd(line: ParsedLine) -> Instruction:
    line.flags()
    return Cmd(**line.common(), arguments=line.arguments, shell=not line.statement.is_json)


def _parse_entrypoint(line: ParsedLine) -> Instruction:
    line.flags()
    return Entrypoint(**line.common(), arguments=line.arguments, shell=not line.statement.is_json)


def _parse_shell(line: ParsedLine) -> Instruction:
    line.flags()
    arguments = line.some_arguments()
    if not line.statement.is_json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return Shell(**line.common(), arguments=arguments)


def _parse_healthcheck(line: ParsedLine) -> Instruction:
    kind, *command = line.some_arguments()
    kind = kind.upper()
    if kind == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(**line.common(), test=("NONE",))
    flags = line.flags(_HEALTHCHECK_FLAGS)
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        **line.common(),
        test=("CMD" if line.statement.is_json else "CMD-SHELL", *command),
        interval=_interval(flags, "interval"),
        timeout=_interval(flags, "timeout"),
        start_period=_interval(flags, "start-period"),
        start_interval=_interval(flags, "start-interval"),
        retries=_retries(flags),
    )


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    duration = parse_duration(text) if text else 0
    if duration and duration < _MIN_INTERVAL:
        raise DockerfileError(f"Interval {quote(name)} cannot be less than 1ms")
    return duration


def _retries(flags: Flags) -> int:
    text = flags.text("retries")
    retries = parse_int(text, bits=32) if text else 0
    if retries < 0:
        raise DockerfileError(f"--retries cannot be negative ({retries})")
    return retries


def _parse_expose(line: ParsedLine) -> Instruction:
    ports = line.some_arguments()
    line.flags()
    return Expose(**line.common(), ports=tuple(sorted(ports)))


def _parse_volume(line: ParsedLine) -> Instruction:
    paths = tuple(path.strip(SPACE) for path in line.some_arguments())
    line.flags()
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(**line.common(), paths=paths)


def _parse_user(line: ParsedLine) -> Instruction:
    user = line.one_argument()
    line.flags()
    return User(**line.common(), user=user)


def _parse_workdir(line: ParsedLine) -> Instruction:
    path = line.one_argument()
    line.flags()
    return Workdir(**line.common(), path=path)


def _parse_stopsignal(line: ParsedLine) -> Instruction:
    # BuildKit looks at the flags of neither STOPSIGNAL nor ARG: they are dropped.
    return StopSignal(**line.common(), signal=line.one_argument())


def _parse_maintainer(line: ParsedLine) -> Instruction:
    author = line.one_argument()
    line.flags()
    return Maintainer(**line.common(), author=author)


def _parse_onbuild(line: ParsedLine) -> Instruction:
    inner = line.statement.trigger
    if inner is None:
        raise DockerfileError("ONBUILD requires at least one argument")
    line.flags()
    keyword = inner.keyword.strip(SPACE).upper()
    if keyword == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in {"FROM", "MAINTAINER"}:
        raise DockerfileError(f"{keyword} isn't allowed as an ONBUILD trigger")
    opener = _ONBUILD.match(line.statement.text)
    trigger = line.statement.text[opener.end() if opener is not None else 0 :]
    bodies = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in line.heredocs)
    return Onbuild(**line.common(), trigger=trigger + bodies)


_PARSERS: dict[str, Callable[[ParsedLine], Instruction | Stage]] = {
    "add": _parse_add,
    "arg": _parse_arg,
    "cmd": _parse_cmd,
    "copy": _parse_copy,
    "entrypoint": _parse_entrypoint,
    "env": _parse_env,
    "expose": _parse_expose,
    "from": _parse_from,
    "healthcheck": _parse_healthcheck,
    "label": _parse_label,
    "maintainer": _parse_maintainer,
    "onbuild": _parse_onbuild,
    "run": _parse_run,
    "shell": _parse_shell,
    "stopsignal": _parse_stopsignal,
    "user": _parse_user,
    "volume": _parse_volume,
    "workdir": _parse_workdir,
}
