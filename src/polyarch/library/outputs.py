"""Which outputs a build has: those that were named, `push` and `load` taken together."""

from __future__ import annotations

from collections.abc import Iterable

from polyarch.errors import InputError
from polyarch.record import replace
from polyarch.request import Output
from polyarch.text.gofmt import quoted
from polyarch.text.gotext import parse_bool

__all__ = ["default_outputs", "merge_outputs"]

_NAMED = frozenset({"image", "registry", "oci", "docker"})


def merge_outputs(
    outputs: Iterable[Output], *, push: bool, load: bool, tags: tuple[str, ...]
) -> tuple[Output, ...]:
    """Add what the shorthands ask for, and the names. Raises InputError if a push has no name.

    `push` makes images that are kept ones that are pushed, too; where there are none it adds one.
    Tags take the place of names that outputs have.
    """
    merged = [_spelled_out(output) for output in outputs]
    if push:
        merged = [_pushed(each) if each.type == "image" else each for each in merged]
        if not any(each.type == "image" for each in merged):
            merged.append(_pushed(Output(type="image")))
    if load and not any(each.type == "docker" and not each.destination for each in merged):
        merged.append(Output(type="docker"))
    if tags:
        merged = [_named(each, tags) if each.type in _NAMED else each for each in merged]
    for each in merged:
        if _is_pushed(each) and not each.attributes.get("name"):
            raise InputError("tag is needed when pushing to registry", hint="give the image a tag")
    return tuple(merged)


def default_outputs(tags: tuple[str, ...], *, needs_digest: bool) -> tuple[Output, ...]:
    """Return what a build does that was told nothing: keep an image that has a name.

    Without one nobody could find it, so it isn't even made, unless its digest is asked for.
    """
    if tags:
        return (_named(Output(type="image"), tags),)
    return (Output(type="image"),) if needs_digest else ()


def _spelled_out(output: Output) -> Output:
    return _pushed(replace(output, type="image")) if output.type == "registry" else output


def _pushed(output: Output) -> Output:
    return replace(output, attributes={**output.attributes, "push": "true"})


def _named(output: Output, tags: tuple[str, ...]) -> Output:
    return replace(output, attributes={**output.attributes, "name": ",".join(tags)})


def _is_pushed(output: Output) -> bool:
    if output.type != "image":
        return False
    text = output.attributes.get("push") or "false"
    is_pushed = parse_bool(text)
    if is_pushed is None:
        raise InputError(f"strconv.ParseBool: parsing {quoted(text)}: invalid syntax")
    return is_pushed
