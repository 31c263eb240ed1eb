"""Which frontend a file asks for: `# syntax=…`, or the build argument BUILDKIT_SYNTAX.

Docker's own frontend is built in, whichever version is named and whichever registry mirrors it. Another
one would be a program in an image that reads the file in a way of its own. To read its file as a
Dockerfile all the same would build something else than what was asked for, without a word, so it is
refused; a build argument says that it is meant to be read so.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.dockerfile.syntax.lexer import find_directive
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.location import Location, SourceText
from polyarch.oci.reference import parse as parse_reference
from polyarch.request.frontend import FRONTEND

__all__ = ["SYNTAX_ARG", "check_syntax"]

SYNTAX_ARG = "BUILDKIT_SYNTAX"
_OURS = ("docker/dockerfile", "docker/dockerfile-upstream")


def check_syntax(source: SourceText, build_args: Mapping[str, str]) -> None:
    """Raise DockerfileError, at the directive, if the file is for a frontend that isn't built in."""
    place = None
    image = build_args.get(SYNTAX_ARG, "").strip().partition(" ")[0]
    if not image:
        directive = find_directive("syntax", source.text)
        if directive is None:
            return
        line = max(1, directive.line)
        image, place = directive.word, Location(source=source, start=line, end=line)
    if not _is_ours(image):
        raise DockerfileError(
            f"the frontend {image} can't be run",
            hint=f"Docker's own is built in: with --build-arg {SYNTAX_ARG}={_OURS[0]}:1 "
            "the file is read as a Dockerfile",
            place=place,
        )


def _is_ours(image: str) -> bool:
    if image == FRONTEND:
        return True
    try:
        path = parse_reference(image).path
    except InputError:
        return False
    # A mirror keeps the path, often behind a directory of its own.
    return any(path == name or path.endswith(f"/{name}") for name in _OURS)
