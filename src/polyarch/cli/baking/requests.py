"""A target -> what the engine is asked for, by the rules that the flags of `build` have."""

from __future__ import annotations

import io

from polyarch.bakefile.target import Target
from polyarch.cli.baking.words import build_words
from polyarch.cli.building.request import read_flags, read_request
from polyarch.cli.building.table import BUILD_FLAGS
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import parse_flags
from polyarch.record import replace
from polyarch.request.values import BuildRequest

__all__ = ["request_of"]


def request_of(target: Target, context: Context, *, is_part: bool = False) -> BuildRequest:
    """Return the request of a target, or of a part of it for its platforms. Raises InputError and its kin."""
    if target.dockerfile_inline is not None:
        data = io.BytesIO(target.dockerfile_inline.encode("utf-8", "surrogateescape"))
        context = replace(context, stdin=io.TextIOWrapper(data))
    options = parse_flags(BUILD_FLAGS, build_words(target, is_part=is_part))
    asked = read_request(options, read_flags(options, context.environ), context)
    return replace(asked.request, policies=target.policy or ())
