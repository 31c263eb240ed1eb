"""SOURCE_DATE_EPOCH: the latest time that anything new in an image may have.

A number of seconds says it; so does the name of a build context whose source knows when it was made (a
commit, or a file of a web server), or of a stage that adds such a source to nothing. The value is that of the build argument, else the default of an ARG
before the first FROM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from polyarch.dockerfile.args import PlatformLike, global_scope, platform_args
from polyarch.dockerfile.expand import expand
from polyarch.dockerfile.instruction import Add, Arg, Stage
from polyarch.dockerfile.parser import Dockerfile
from polyarch.dockerfile.remote import remote_op
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.op import GitOp, HttpOp

__all__ = ["SOURCE_DATE_EPOCH", "Dates", "find_epoch", "is_number", "parse_epoch"]

SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_LIMIT = 1 << 63


def is_number(text: str) -> bool:
    """Tell if a text is a number of seconds."""
    return _NUMBER.fullmatch(text) is not None and -_LIMIT <= int(text) < _LIMIT


def parse_epoch(text: str) -> int:
    """Read a number of seconds since 1970. Raises InputError."""
    if not is_number(text):
        raise InputError(
            f"invalid {SOURCE_DATE_EPOCH}: {text}",
            hint="give whole seconds since 1970, or the name of a git or http build context or stage",
        )
    return int(text)


class Dates(Protocol):
    """Where sources say when they were made, in seconds; None for one that doesn't tell."""

    def of_context(self, name: str) -> int | None:
        """Ask a build context. Raises LookupError if there is none of that name."""

    def of_source(self, op: HttpOp | GitOp) -> int | None:
        """Ask a file of a web server, or a commit."""


def find_epoch(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    build_platform: PlatformLike,
    dates: Dates,
) -> int | None:
    """Return the epoch in seconds, None if there is none.

    Raises InputError for what is neither a number nor the name of something that has a date, and what
    `dates` raises.
    """
    scope = global_scope(
        dockerfile.global_args,
        build_args,
        platform_args(build_platform, build_platform),
        escape=dockerfile.escape,
    )
    text = build_args.get(SOURCE_DATE_EPOCH)
    if text is None:
        text = scope.get(SOURCE_DATE_EPOCH, "")
    if not text:
        return None
    if is_number(text):
        return int(text)
    try:
        return dates.of_context(text)
    except LookupError:
        scope.pop(SOURCE_DATE_EPOCH, None)
        op = _fetched_by(dockerfile, text, scope, build_args)
        return parse_epoch(text) if op is None else dates.of_source(op)


def _fetched_by(
    dockerfile: Dockerfile, name: str, scope: Mapping[str, str], build_args: Mapping[str, str]
) -> HttpOp | GitOp | None:
    """Return what a stage adds to nothing; None if there is no stage of that name.

    Raises DockerfileError if that isn't all that the stage does.
    """
    named = (each for each in dockerfile.stages if each.name and each.name == name.lower())
    stage = next(named, None)
    if stage is None:
        return None
    variables, escape = dict(scope), dockerfile.escape
    if expand(stage.base, variables, escape=escape, place=stage.location) != "scratch":
        raise _refusal("stage must use FROM scratch", stage)
    found: list[HttpOp | GitOp] = []
    for each in stage.instructions:
        if isinstance(each, Arg):
            _declare(each, variables, build_args, escape)
        elif not isinstance(each, Add):
            raise _refusal(
                f"stage does not meet source-only requirements: unsupported {each.name} instruction",
                stage,
            )
        else:
            found.append(_added(each, variables, escape, stage))
    if len(found) != 1:
        raise _refusal("stage must contain exactly one remote ADD", stage)
    return found[0]


def _declare(
    arg: Arg, variables: dict[str, str], build_args: Mapping[str, str], escape: str
) -> None:
    for each in arg.definitions:
        if each.name in build_args:
            variables[each.name] = build_args[each.name]
        elif each.default is not None:
            value = expand(each.default, variables, escape=escape, place=arg.location)
            variables[each.name] = value


def _added(add: Add, variables: Mapping[str, str], escape: str, stage: Stage) -> HttpOp | GitOp:
    if len(add.sources) != 1 or add.contents:
        raise _refusal("stage must contain exactly one remote ADD source", stage)
    source = expand(add.sources[0], variables, escape=escape, place=add.location)
    checksum = expand(add.checksum, variables, escape=escape, place=add.location)
    op = remote_op(source, add, checksum)
    if op is None:
        raise _refusal("stage source must be a single HTTP(S) or Git ADD", stage)
    return op


def _refusal(message: str, stage: Stage) -> DockerfileError:
    return DockerfileError(
        f"{SOURCE_DATE_EPOCH} {message}",
        hint=f"the stage {stage.name} dates the build: let it hold one ADD of an address, no more",
        place=stage.location,
    )
