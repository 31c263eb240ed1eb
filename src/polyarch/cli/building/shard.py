"""`build --shard PLATFORMS`: a part of an image, for `polyarch join` to make a whole of it.

A part is an index even for one platform, since it is to be one of several; it goes into a layout, or to a registry
by its digest alone, where it takes no name from anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyarch.errors import InputError
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import replace
from polyarch.request.values import Output, OutputType

__all__ = ["shard_outputs", "untagged"]


def shard_outputs(outputs: Iterable[Output], *, push: bool) -> tuple[Output, ...]:
    """Return the outputs of a part: `-o DIRECTORY` is a layout, `-o FILE.tar` an archive of one.

    Raises InputError for what can't be joined, and if there is none.
    """
    found = [_shard_output(output) for output in outputs]
    if push:
        found.append(Output(type=OutputType.IMAGE, attributes={"push": "true"}))
    if not found:
        raise InputError(
            "a shard has to go somewhere that polyarch join can find it",
            hint="write it with -o DIRECTORY or -o FILE.tar, or push it: --push -t REPOSITORY",
        )
    return tuple(map(_by_digest, found))


def untagged(tags: Iterable[str]) -> Sequence[str]:
    """Return the repositories of names: the tag is given to the whole. Raises InvalidReference."""
    return tuple(parse_reference(tag).repository for tag in tags)


def _shard_output(output: Output) -> Output:
    if output.type in {OutputType.OCI, OutputType.IMAGE, OutputType.REGISTRY}:
        return output
    if output.type not in {OutputType.LOCAL, OutputType.TAR}:
        raise InputError(
            f"a shard can't be written as type={output.type}",
            hint="use -o DIRECTORY, -o FILE.tar, or --push",
        )
    is_archive = output.type == OutputType.TAR or output.destination.endswith(".tar")
    tar = "true" if is_archive else "false"
    return replace(output, type=OutputType.OCI, attributes={**output.attributes, "tar": tar})


def _by_digest(output: Output) -> Output:
    if output.type == OutputType.OCI:
        return output
    return replace(output, attributes={**output.attributes, "push-by-digest": "true"})
