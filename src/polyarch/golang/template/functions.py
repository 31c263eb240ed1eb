"""The functions that templates may call: Go's own, and those that docker adds.

A function says how many arguments it takes and of which types; `FunctionError` is a complaint about a
call, without the place. `and` and `or` aren't here: they don't evaluate what they don't need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from polyarch.golang.json import compact, indented
from polyarch.golang.template.printf import sprintf
from polyarch.golang.template.structs import StructMap
from polyarch.golang.template.values import (
    MISSING,
    GoValue,
    Value,
    go_text,
    is_list,
    is_true,
    to_json,
    type_name,
)
from polyarch.record import frozen

__all__ = [
    "FUNCTIONS",
    "HEADER_FUNCTIONS",
    "INDENTED_FUNCTIONS",
    "Definition",
    "FunctionError",
]


class FunctionError(Exception):
    """A call that a function refuses."""


@frozen
class Definition:
    """A function.

    `types` are those of its first arguments ("" is any, "list" a list of texts), which must be there; with
    `variadic` there may be more.
    """

    call: Callable[..., Value]
    types: tuple[str, ...]
    variadic: bool = False


def _json(value: Value) -> Value:
    return compact(to_json(value), for_html=False).decode()


def _indented_json(value: Value) -> Value:
    return indented(to_json(value)).decode()


def _join(items: Sequence[str], separator: str) -> Value:
    return separator.join(items)


def _title(text: str) -> Value:
    out, previous = "", " "
    for char in text:
        is_within = previous.isalnum() or previous in "_'"
        out += char if is_within else char.title()
        previous = char
    return out


def _split(text: str, separator: str) -> Value:
    if not text or separator:
        return text.split(separator) if text or separator else []
    return list(text)


def _truncate(text: str, length: int) -> Value:
    # Bytes, as in docker; half a character shows as the replacement for one.
    return text.encode(errors="replace")[: max(0, length)].decode(errors="replace")


def _pad(text: str, before: int, after: int) -> Value:
    return " " * before + text + " " * after if text else text


def _print(*values: Value) -> Value:
    out = ""
    for index, value in enumerate(values):
        is_apart = (
            index > 0 and not isinstance(value, str) and not isinstance(values[index - 1], str)
        )
        out += " " * is_apart + go_text(value)
    return out


_FOR_HTML = str.maketrans(
    {'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"}
)


def _html(*values: Value) -> Value:
    return str(_print(*values)).translate(_FOR_HTML)


def _println(*values: Value) -> Value:
    return " ".join(map(go_text, values)) + "\n"


def _printf(form: str, *values: Value) -> Value:
    return sprintf(form, [None if value is MISSING else value for value in values])


def _len(value: Value) -> Value:
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, GoValue) and value.is_struct:
        raise FunctionError(f"len of type {value.type_name}")
    if isinstance(value, Mapping) or is_list(value):
        return len(cast("Sequence[Value]", value))
    if value is None or value is MISSING:
        raise FunctionError("len of nil pointer")
    raise FunctionError(f"len of type {type_name(value)}")


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        value = _index_once(value, key)
    return value


def _index_once(value: Value, key: Value) -> Value:
    if isinstance(value, GoValue) and value.is_struct:
        raise FunctionError(f"can't index item of type {value.type_name}")
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise FunctionError(f"value has type {type_name(key)}; should be string")
        return value.get(key, value.item.zero() if isinstance(value, StructMap) else MISSING)
    if value is None or value is MISSING:
        raise FunctionError("index of untyped nil")
    if not isinstance(value, Sequence):
        raise FunctionError(f"can't index item of type {type_name(value)}")
    return _item(value, key)


def _item(value: Sequence[Value], key: Value) -> Value:
    if isinstance(key, bool) or not isinstance(key, int):
        raise FunctionError(f"cannot index slice/array with type {type_name(key)}")
    items = value.encode(errors="replace") if isinstance(value, str) else value
    if not 0 <= key < len(items):
        raise FunctionError(f"index out of range: {key}")
    return items[key]


def _slice(value: Value, *bounds: Value) -> Value:
    if not isinstance(value, Sequence):
        raise FunctionError(f"can't slice item of type {type_name(value)}")
    size = len(value)
    numbers = [bound for bound in bounds if isinstance(bound, int) and not isinstance(bound, bool)]
    if len(numbers) != len(bounds) or len(bounds) > 2:
        raise FunctionError("cannot index slice/array with these")
    start, end = (*numbers, *(0, size)[len(numbers) :])
    for number in (start, end):
        if not 0 <= number <= size:
            raise FunctionError(f"index out of range: {number}")
    if start > end:
        raise FunctionError(f"invalid slice index: {start} > {end}")
    return value[start:end]


_INCOMPATIBLE = "incompatible types for comparison"


def _kind(value: Value) -> str:
    name = type_name(value)
    if name.startswith(("[", "map")):
        raise FunctionError(f"non-comparable type {go_text(value)}: {name}")
    return name


def _eq(first: Value, *others: Value) -> Value:
    if not others:
        raise FunctionError("missing argument for comparison")
    return any(_equals(first, other) for other in others)


def _equals(one: Value, other: Value) -> bool:
    kinds = {type_name(one), type_name(other)}
    if "<nil>" in kinds:
        return len(kinds) == 1
    if len(kinds) > 1:
        raise FunctionError(_INCOMPATIBLE)
    _kind(one)
    return one == other


def _lt(one: Value, other: Value) -> bool:
    if _kind(one) != _kind(other):
        raise FunctionError(_INCOMPATIBLE)
    if isinstance(one, str) and isinstance(other, str):
        return one.encode(errors="replace") < other.encode(errors="replace")
    if isinstance(one, bool) or not isinstance(one, int | float):
        raise FunctionError("invalid type for comparison")
    return one < cast("float", other)


FUNCTIONS: Mapping[str, Definition] = {
    "json": Definition(call=_json, types=("",)),
    "join": Definition(call=_join, types=("list", "string")),
    "lower": Definition(call=lambda text: text.lower(), types=("string",)),
    "upper": Definition(call=lambda text: text.upper(), types=("string",)),
    "title": Definition(call=_title, types=("string",)),
    "split": Definition(call=_split, types=("string", "string")),
    "truncate": Definition(call=_truncate, types=("string", "int")),
    "pad": Definition(call=_pad, types=("string", "int", "int")),
    "print": Definition(call=_print, types=(), variadic=True),
    "println": Definition(call=_println, types=(), variadic=True),
    "html": Definition(call=_html, types=(), variadic=True),
    "printf": Definition(call=_printf, types=("string",), variadic=True),
    "len": Definition(call=_len, types=("",)),
    "index": Definition(call=_index, types=("",), variadic=True),
    "slice": Definition(call=_slice, types=("",), variadic=True),
    "not": Definition(call=lambda value: not is_true(value), types=("",)),
    "eq": Definition(call=_eq, types=("",), variadic=True),
    "ne": Definition(call=lambda one, other: not _equals(one, other), types=("", "")),
    "lt": Definition(call=_lt, types=("", "")),
    "le": Definition(
        call=lambda one, other: _lt(one, other) or _equals(one, other), types=("", "")
    ),
    "gt": Definition(
        call=lambda one, other: not _lt(one, other) and not _equals(one, other), types=("", "")
    ),
    "ge": Definition(call=lambda one, other: not _lt(one, other), types=("", "")),
}

# Some of buildx's commands write JSON for people, as Go's MarshalIndent does.
INDENTED_FUNCTIONS: Mapping[str, Definition] = {
    **FUNCTIONS,
    "json": Definition(call=_indented_json, types=("",)),
}

# The header of a table is the same template, asked for the names of columns: what changes values must
# leave those alone.
HEADER_FUNCTIONS: Mapping[str, Definition] = {
    **FUNCTIONS,
    "json": Definition(call=lambda text: text, types=("",)),
    "lower": Definition(call=lambda text: text, types=("string",)),
    "upper": Definition(call=lambda text: text, types=("string",)),
    "title": Definition(call=lambda text: text, types=("string",)),
    "truncate": Definition(call=lambda text, _length: text, types=("string", "int")),
}
