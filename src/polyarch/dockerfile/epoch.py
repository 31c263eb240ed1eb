"""SOURCE_DATE_EPOCH: the latest time that anything new in an image may have.

A number of seconds says it; so does the name of a build context whose source knows when it was made (a
commit, or a file of a web server), or of a stage that adds such a source to nothing. The value is that of
the build argument, else the default of an ARG before the first FROM; whoever asks for the argument later
gets the seconds. Source: BuildKit's Dockerfile frontend.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from polyarch.dockerfile.args import PlatformLike, global_scope, platform_args
from polyarch.dockerfile.expand import expand
from polyarch.dockerfile.instruction import Add, Arg, Instruction, Stage
from polyarch.dockerfile.parser import Dockerfile
from polyarch.dockerfile.remote import remote_op
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.op import GitOp, HttpOp
from polyarch.record import frozen, replace

__all__ = ["SOURCE_DATE_EPOCH", "Dates", "Epoch", "find_epoch"]

SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
_NUMBER = re.compile(r"[+-]?[0-9]+")
_SCRATCH = "scratch"
_REMOTE = "http://, https:// or a git repository"


class Dates(Protocol):
    """Where sources say when they were made, in seconds; None for one that doesn't tell."""

    def of_context(self, name: str) -> int | None:
        """Ask a build context. Raises LookupError if there is none of that name."""

    def of_source(self, op: HttpOp | GitOp) -> int | None:
        """Ask a file of a web server, or a commit."""


@frozen
class Epoch:
    """The time in seconds, None for none, and what the arguments are with it."""

    seconds: int | None
    dockerfile: Dockerfile
    build_args: Mapping[str, str]


def find_epoch(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    build_platform: PlatformLike,
    dates: Dates,
) -> Epoch:
    """Find out the epoch.

    Raises InputError for what is neither a number nor the name of something that has a date,
    DockerfileError for a stage that does more than to add one source, and what `dates` raises.
    """
    scope = global_scope(
        dockerfile.global_args,
        build_args,
        platform_args(build_platform, build_platform),
        escape=dockerfile.escape,
    )
    text = build_args.get(SOURCE_DATE_EPOCH, scope.get(SOURCE_DATE_EPOCH, ""))
    if not text or _NUMBER.fullmatch(text):
        seconds = int(text) if text else None
        return Epoch(seconds=seconds, dockerfile=dockerfile, build_args=build_args)
    scope.pop(SOURCE_DATE_EPOCH, None)
    seconds = _date(text, _Stages(dockerfile=dockerfile, build_args=build_args, scope=scope), dates)
    shown = "" if seconds is None else str(seconds)
    if SOURCE_DATE_EPOCH in build_args:
        build_args = {**build_args, SOURCE_DATE_EPOCH: shown}
    else:
        args = tuple(_with_default(arg, shown) for arg in dockerfile.global_args)
        dockerfile = replace(dockerfile, global_args=args)
    return Epoch(seconds=seconds, dockerfile=dockerfile, build_args=build_args)


def _with_default(arg: Arg, text: str) -> Arg:
    """Give the argument its value, where it is declared."""
    definitions = tuple(
        replace(each, default=text) if each.name == SOURCE_DATE_EPOCH else each
        for each in arg.definitions
    )
    return replace(arg, definitions=definitions)


def _date(name: str, stages: _Stages, dates: Dates) -> int | None:
    try:
        return dates.of_context(name)
    except LookupError:
        op = stages.added_by(name)
    if op is None:
        raise InputError(
            f"invalid {SOURCE_DATE_EPOCH}: {name}",
            hint="give whole seconds since 1970, or the name of a git or http build context or stage",
        )
    return dates.of_source(op)


@frozen
class _Stages:
    """The stages of a Dockerfile, with the variables that there are before them."""

    dockerfile: Dockerfile
    build_args: Mapping[str, str]
    scope: Mapping[str, str]

    def added_by(self, name: str) -> HttpOp | GitOp | None:
        """Return what the first stage of a name adds to nothing; None if there is no such stage."""
        for stage in self.dockerfile.stages:
            if stage.name and stage.name == name.lower():
                return self._source(stage)
        return None

    def _source(self, stage: Stage) -> HttpOp | GitOp:
        """Return the one thing that a stage adds. Raises DockerfileError."""
        if self._expanded(stage.base, self.scope, stage) != _SCRATCH:
            raise _refused("must use FROM scratch", stage)
        scope = dict(self.scope)
        found: HttpOp | GitOp | None = None
        for instruction in stage.instructions:
            match instruction:
                case Arg():
                    self._declare(instruction, scope)
                case Add() if found is None:
                    found = self._added(instruction, scope)
                case Add():
                    raise _refused("must contain exactly one remote ADD", instruction)
                case _:
                    problem = f"may hold ARG and ADD only, and no {instruction.name}"
                    raise _refused(problem, instruction)
        if found is None:
            raise _refused("must contain exactly one remote ADD", stage)
        return found

    def _declare(self, arg: Arg, scope: dict[str, str]) -> None:
        for definition in arg.definitions:
            if definition.name in self.build_args:
                scope[definition.name] = self.build_args[definition.name]
            elif definition.default is not None:
                scope[definition.name] = self._expanded(definition.default, scope, arg)

    def _added(self, added: Add, scope: Mapping[str, str]) -> HttpOp | GitOp:
        if added.contents or len(added.sources) != 1:
            raise _refused("must contain exactly one remote ADD source", added)
        source = self._expanded(added.sources[0], scope, added)
        op = remote_op(source, added, self._expanded(added.checksum, scope, added))
        if op is None:
            raise _refused(f"must add one source of {_REMOTE}", added)
        return op

    def _expanded(self, text: str, scope: Mapping[str, str], place: Stage | Instruction) -> str:
        return expand(text, scope, escape=self.dockerfile.escape, place=place.location)


def _refused(problem: str, place: Stage | Instruction) -> DockerfileError:
    return DockerfileError(
        f"{SOURCE_DATE_EPOCH} stage {problem}",
        hint="the stage that dates a build does nothing but add one source to scratch",
        place=place.location,
    )
