"""SOURCE_DATE_EPOCH: the latest time that anything new in an image may have.

A number of seconds says it; so does the name of a build context whose source knows when it was made (a
commit, or a file of a web server), or of a stage that adds such a source to nothing. The value is that of the build argument, else the default of an ARG
before the first FROM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from polyarch.dockerfile.args import global_scope, platform_args
from polyarch.dockerfile.lowering.remote import remote_op
from polyarch.dockerfile.lowering.targets import find_stage
from polyarch.dockerfile.parser import Dockerfile
from polyarch.dockerfile.syntax.instruction import Add
from polyarch.graph.op import GitOp, HttpOp
from polyarch.pattern import pattern
from polyarch.platforms import Platform
from polyarch.text.epoch import parse_epoch

__all__ = ["SOURCE_DATE_EPOCH", "Dates", "find_epoch"]

SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
_NUMBER = pattern(r"-?[0-9]+")
_HINT = "give whole seconds since 1970, or the name of a git or http build context or stage"


class Dates(Protocol):
    """Where sources say when they were made, in seconds; None for one that doesn't tell."""

    def of_context(self, name: str) -> int | None:
        """Ask a build context. Raises LookupError if there is none of that name."""

    def of_source(self, op: HttpOp | GitOp) -> int | None:
        """Ask a file of a web server, or a commit."""


def find_epoch(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    build_platform: Platform,
    dates: Dates,
) -> int | None:
    """Return the epoch in seconds, None if there is none.

    Raises InputError for what is neither a number nor the name of something that has a date, and what
    `dates` raises.
    """
    text = build_args.get(SOURCE_DATE_EPOCH)
    if text is None:
        scope = global_scope(
            dockerfile.global_args,
            build_args,
            platform_args(build_platform, build_platform),
            escape=dockerfile.escape,
        )
        text = scope.get(SOURCE_DATE_EPOCH, "")
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        return parse_epoch(text)
    try:
        return dates.of_context(text)
    except LookupError:
        op = _fetched_by(dockerfile, text)
        return parse_epoch(text, _HINT) if op is None else dates.of_source(op)


def _fetched_by(dockerfile: Dockerfile, name: str) -> HttpOp | GitOp | None:
    """Return what a stage adds to nothing, if all that it does is to add one thing from elsewhere."""
    index = find_stage(dockerfile.stages, name)
    if index is None:
        return None
    stage = dockerfile.stages[index]
    match stage.instructions:
        case (Add(sources=(source,), contents=()) as added,) if stage.base == "scratch":
            return remote_op(source, added, added.checksum)
    return None
