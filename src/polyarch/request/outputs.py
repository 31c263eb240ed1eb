"""Which outputs a build has: those that were named, `push` and `load` taken together."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, parse_bool, quote
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import replace
from polyarch.request.values import Output, OutputType

__all__ = [
    "check_mirrors",
    "check_places",
    "default_outputs",
    "is_mirror",
    "is_pushed",
    "merge_outputs",
]

_NAMED = frozenset({OutputType.IMAGE, OutputType.REGISTRY, OutputType.OCI, OutputType.DOCKER})


def merge_outputs(
    outputs: Iterable[Output], *, push: bool, load: bool, tags: tuple[str, ...]
) -> tuple[Output, ...]:
    """Add what the shorthands ask for, and the names. Raises InputError if a push has no name.

    `push` makes images that are kept ones that are pushed, too; where there are none it adds one.
    Tags take the place of names that outputs have.
    """
    merged = [_spelled_out(output) for output in outputs]
    if push:
        merged = _with_push(merged)
    if load and not any(map(_is_loaded, merged)):
        merged.append(Output(type=OutputType.DOCKER))
    if tags:
        merged = [_named(each, tags) if each.type in _NAMED else each for each in merged]
    for each in merged:
        if is_pushed(each) and not each.attributes.get("name"):
            raise InputError("tag is needed when pushing to registry", hint="give the image a tag")
    return tuple(merged)


def default_outputs(tags: tuple[str, ...], *, needs_digest: bool) -> tuple[Output, ...]:
    """Return what a build does that was told nothing: keep an image that has a name.

    Without one nobody could find it, so it isn't even made, unless its digest is asked for.
    """
    if tags:
        return (_named(Output(type=OutputType.IMAGE), tags),)
    return (Output(type=OutputType.IMAGE),) if needs_digest else ()


def _with_push(outputs: list[Output]) -> list[Output]:
    if not any(each.type == OutputType.IMAGE for each in outputs):
        return [*outputs, _pushed(Output(type=OutputType.IMAGE))]
    return [_pushed(each) if each.type == OutputType.IMAGE else each for each in outputs]


def _is_loaded(output: Output) -> bool:
    return output.type == OutputType.DOCKER and not output.destination


def _spelled_out(output: Output) -> Output:
    return (
        _pushed(replace(output, type=OutputType.IMAGE))
        if output.type == OutputType.REGISTRY
        else output
    )


def _pushed(output: Output) -> Output:
    return replace(output, attributes={**output.attributes, "push": "true"})


def _named(output: Output, tags: tuple[str, ...]) -> Output:
    # What is pushed by its digest has no tag, not even the usual one.
    if find_bool(output.attributes.get("push-by-digest", "false")) is False:
        tags = tuple(dict.fromkeys(parse_reference(tag).canonical for tag in tags))
    return replace(output, attributes={**output.attributes, "name": ",".join(tags)})


def is_pushed(output: Output) -> bool:
    """Tell whether an output is an image that goes to a registry. Raises InputError for `push` that is no bool."""
    if output.type != OutputType.IMAGE:
        return output.type == OutputType.REGISTRY
    text = output.attributes.get("push", "false")
    try:
        # To BuildKit the word alone means that it is wanted.
        return not text or parse_bool(text)
    except InputError as error:
        raise InputError(f"failed to solve: non-bool value specified for push: {error}") from error


def check_places(outputs: Iterable[Output]) -> None:
    """Raise InputError for an output that can't go where it shall, as buildx finds before it builds."""
    is_taken = False
    for output in outputs:
        if output.type not in {OutputType.LOCAL, OutputType.TAR, OutputType.OCI, OutputType.DOCKER}:
            continue
        if (
            output.type == OutputType.LOCAL
            or find_bool(output.attributes.get("tar", "true")) is False
        ):
            _check_directory(output)
        elif output.destination == "-" or (
            not output.destination and output.type != OutputType.DOCKER
        ):
            _check_stream(output, is_taken=is_taken)
            is_taken = True
        elif output.destination:
            _check_file(output.destination)


def _check_directory(output: Output) -> None:
    hint = "name a directory: dest=DIRECTORY"
    if not output.destination:
        raise InputError(f"dest is required for {output.type} exporter", hint=hint)
    if output.destination == "-":
        raise InputError(f"dest cannot be stdout for {output.type} exporter", hint=hint)
    status = _status(output.destination, "directory")
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise InputError(
            f"destination directory {output.destination} is a file",
            hint="name a directory, or one that isn't there yet: dest=DIRECTORY",
        )
    is_mirror(output)


def _check_file(destination: str) -> None:
    status = _status(destination, "file")
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise InputError(
            f"destination file {destination} is a directory", hint="name a file: dest=FILE"
        )


def _check_stream(output: Output, *, is_taken: bool) -> None:
    if is_taken:
        raise InputError(
            "multiple outputs configured to write to stdout",
            hint="give all but one a file: dest=FILE",
        )
    if sys.stdout.isatty():
        raise InputError(
            f"dest file is required for {output.type} exporter. refusing to write to console",
            hint="name a file with dest=FILE, or redirect standard output",
        )


def _status(path: str, kind: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"stat {path}: {(error.strerror or 'unknown error').lower()}"
        raise InputError(f"invalid destination {kind}: {path}: {reason}") from error


def is_mirror(output: Output) -> bool:
    """Tell whether a directory is to hold the result and nothing else (`-o type=local,mode=delete`).

    Raises InputError for a mode that isn't known.
    """
    mode = output.attributes.get("mode", "").strip().lower()
    if mode not in {"", "copy", "delete"}:
        raise InputError(
            f"invalid local exporter mode {quote(output.attributes['mode'])}",
            hint="use copy or delete",
        )
    return mode == "delete"


def check_mirrors(outputs: Iterable[Output]) -> None:
    """Raise InputError for an output that removes files (mode=delete) outside of where we stand."""
    here = os.path.realpath(".")
    for output in outputs:
        if output.type != OutputType.LOCAL or not is_mirror(output):
            continue
        place = os.path.realpath(output.destination)
        if not place.startswith(here.rstrip("/") + "/"):
            raise InputError(
                f"local output mode=delete for destination {quote(output.destination)} requires "
                "--allow=buildx.local.delete",
                hint="everything there goes that the result doesn't have",
            )
