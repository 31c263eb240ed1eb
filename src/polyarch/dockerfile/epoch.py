"""SOURCE_DATE_EPOCH: the latest time that anything new in an image may have.

A number of seconds says it; so does the name of a build context whose source knows when it was made: a
commit, or a file of a web server. The value is that of the build argument, else the default of an ARG
before the first FROM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polyarch.dockerfile.args import PlatformLike, global_scope, platform_args
from polyarch.dockerfile.parser import Dockerfile
from polyarch.errors import InputError

__all__ = ["SOURCE_DATE_EPOCH", "find_epoch", "parse_epoch"]

SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"


def parse_epoch(text: str) -> int:
    """Read a number of seconds since 1970. Raises InputError."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise InputError(
            f"invalid {SOURCE_DATE_EPOCH}: {text}",
            hint="give whole seconds since 1970, or the name of a git or http build context",
        )
    return int(text)


def find_epoch(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    build_platform: PlatformLike,
    time_of: Callable[[str], int | None],
) -> int | None:
    """Return the epoch in seconds, None if there is none.

    `time_of` says when the source of a build context was made: None for one that doesn't tell (a
    folder), and LookupError if there is no context of that name. Raises InputError for anything else.
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
    try:
        return time_of(text)
    except LookupError:
        return parse_epoch(text)
