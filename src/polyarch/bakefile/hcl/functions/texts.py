"""Functions of texts. Source: behaviour of go-cty's `function/stdlib` and of buildx's own ones."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping

from polyarch.bakefile.hcl.functions.clusters import clusters
from polyarch.bakefile.hcl.functions.ints import as_int
from polyarch.bakefile.hcl.functions.semver import satisfies
from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.types import NUMBER, STRING, list_of
from polyarch.bakefile.hcl.values import FALSE, TRUE, Value, integer, list_value, string
from polyarch.pattern import pattern

__all__ = ["TEXTS"]

_OUTSIDE_NAMES = pattern(r"[^a-zA-Z0-9_-]")
_WORD_START = pattern(r"(?:(?<=[^\w'])|\A)[^\W\d_]")
_TEXT = Parameter("str", STRING)


def _plain(run: Callable[[str], str], name: str = "str") -> Function:
    return function(lambda value: string(run(value.raw)), Parameter(name, STRING))


def _strlen(value: Value) -> Value:
    return integer(len(clusters(value.raw)))


def _reverse(text: str) -> str:
    return "".join(reversed(clusters(text)))


def _substr(value: Value, offset: Value, length: Value) -> Value:
    parts = clusters(value.raw)
    start, count = as_int(offset), as_int(length)
    if start < 0:
        start = max(0, start + len(parts))
        if count == 0:
            # As go-cty has it: what counts from the end is never empty.
            count = -1
    if count == 0 or start > len(parts):
        return string("")
    return string("".join(parts[start:] if count < 0 else parts[start : start + count]))


def _join(separator: Value, *lists: Value) -> Value:
    if not lists:
        raise FunctionError("at least one list is required")
    texts: list[str] = []
    for number, each in enumerate(lists, 1):
        for index, item in enumerate(each.raw):
            if item.is_null:
                of = f" of list {number}" if len(lists) > 1 else ""
                message = f"element {index}{of} is null; cannot concatenate null values"
                raise ArgumentError(number, message)
            texts.append(item.raw)
    return string(separator.raw.join(texts))


def _sort(items: Value) -> Value:
    for index, each in enumerate(items.raw):
        if each.is_null:
            message = f"given list element {index} is null; a null string cannot be sorted"
            raise ArgumentError(0, message)
    ordered = sorted(items.raw, key=lambda each: each.raw.encode("utf-8", "surrogateescape"))
    return list_value(ordered, STRING)


def _split(separator: Value, value: Value) -> Value:
    parts = value.raw.split(separator.raw) if separator.raw else list(value.raw)
    return list_value([string(each) for each in parts], STRING)


def _chomp(text: str) -> str:
    return text.rstrip("\r\n")


def _indent(spaces: Value, value: Value) -> Value:
    count = as_int(spaces)
    if count < 0:
        raise FunctionError("panic in function implementation: strings: negative Repeat count")
    if count > 1 << 20:
        raise FunctionError("more blanks than any text needs")
    return string(value.raw.replace("\n", "\n" + " " * count))


def _title(text: str) -> str:
    return _WORD_START.sub(lambda match: match.group().upper(), text)


def _trim(value: Value, cutset: Value) -> Value:
    return string(value.raw.strip(cutset.raw) if cutset.raw else value.raw)


def _replace(value: Value, old: Value, new: Value) -> Value:
    return string(value.raw.replace(old.raw, new.raw))


def _sanitize(text: str) -> str:
    return _OUTSIDE_NAMES.sub("_", text)


def _basename(path: str) -> str:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def _dirname(path: str) -> str:
    head = path.rpartition("/")[0]
    if not head and path.startswith("/"):
        return "/"
    cleaned = posixpath.normpath(head) if head else "."
    return "/" + cleaned.lstrip("/") if head.startswith("/") else cleaned


def _upper(text: str) -> str:
    return "".join(_one(char.upper(), char) for char in text)


def _lower(text: str) -> str:
    return "".join(_one(char.lower(), char) for char in text)


def _one(changed: str, char: str) -> str:
    """Return the changed character, if it is one: Go has no letter that becomes two."""
    return changed if len(changed) == 1 else char


def _semvercmp(version: Value, constraint: Value) -> Value:
    try:
        return TRUE if satisfies(version.raw, constraint.raw) else FALSE
    except ValueError as error:
        raise FunctionError(str(error)) from None


TEXTS: Mapping[str, Function] = {
    "basename": _plain(_basename, "path"),
    "chomp": _plain(_chomp),
    "dirname": _plain(_dirname, "path"),
    "indent": function(_indent, Parameter("spaces", NUMBER), _TEXT),
    "join": function(_join, Parameter("separator", STRING), rest=Parameter("lists", list_of(STRING))),
    "lower": _plain(_lower),
    "replace": function(_replace, _TEXT, Parameter("substr", STRING), Parameter("replace", STRING)),
    "reverse": _plain(_reverse),
    "sanitize": _plain(_sanitize, "name"),
    "semvercmp": function(_semvercmp, Parameter("version", STRING), Parameter("contraint", STRING)),
    "sort": function(_sort, Parameter("list", list_of(STRING))),
    "split": function(_split, Parameter("separator", STRING), _TEXT),
    "strlen": function(_strlen, _TEXT),
    "substr": function(_substr, _TEXT, Parameter("offset", NUMBER), Parameter("length", NUMBER)),
    "title": _plain(_title),
    "trim": function(_trim, _TEXT, Parameter("cutset", STRING)),
    "trimprefix": function(lambda value, part: string(value.raw.removeprefix(part.raw)), _TEXT, Parameter("prefix", STRING)),
    "trimspace": _plain(str.strip),
    "trimsuffix": function(lambda value, part: string(value.raw.removesuffix(part.raw)), _TEXT, Parameter("suffix", STRING)),
    "upper": _plain(_upper),
}  # fmt: skip
