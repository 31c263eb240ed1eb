"""JSON -> values of HCL: of a type that is wanted, or of the one that the document implies.

Source: behaviour of go-cty's package `json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.numbers import parse
from polyarch.bakefile.hcl.types import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Kind,
    Type,
    list_of,
    map_of,
    object_of,
    set_of,
    tuple_of,
)
from polyarch.bakefile.hcl.values import (
    FALSE,
    NULL,
    TRUE,
    Value,
    map_value,
    null_of,
    number,
    object_value,
    set_value,
    string,
    tuple_value,
)
from polyarch.golang.strconv import quote

__all__ = ["from_json"]


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _no_constant(text: str) -> object:
    raise ValueError(f"invalid character {text[0]!r} looking for beginning of value")


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_no_constant)


def from_json(text: str, wanted: Type, *, implied: bool = False) -> Value:
    """Return what a document holds. Raises ValueError.

    With `implied` the document says of what type it is; without, a place where anything may be has an object with
    `type` and `value`.
    """
    stripped = text.strip(" \t\r\n")
    if not stripped:
        raise ValueError("EOF")
    try:
        raw, end = _DECODER.raw_decode(stripped)
    except json.JSONDecodeError as error:
        char = stripped[error.pos : error.pos + 1]
        if not char:
            raise ValueError("unexpected EOF") from None
        raise ValueError(f"invalid character {char!r} looking for beginning of value") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if stripped[end:].strip():
        raise ValueError("extraneous data after JSON object")
    return _implied(raw) if implied else _typed(raw, wanted)


def _implied(raw: object) -> Value:
    if raw is None:
        return NULL
    if isinstance(raw, bool):
        return TRUE if raw else FALSE
    if isinstance(raw, _Number):
        return number(parse(raw))
    if isinstance(raw, str):
        return string(raw)
    if isinstance(raw, list):
        return tuple_value([_implied(each) for each in raw])
    fields = _as_object(raw, "an object is required")
    return object_value({name: _implied(each) for name, each in fields.items()})


def _typed(raw: object, wanted: Type) -> Value:
    return null_of(wanted) if raw is None else _READERS[wanted.kind](raw, wanted)


def _as_list(raw: object, what: str) -> list[object]:
    if isinstance(raw, list):
        return raw
    raise ValueError(f"{what} is required")


def _as_object(raw: object, complaint: str) -> dict[str, object]:
    if isinstance(raw, dict):
        return raw
    raise ValueError(complaint)


def _list(raw: object, wanted: Type) -> Value:
    items = [_typed(each, wanted.element) for each in _as_list(raw, "a list")]
    return Value(list_of(items[0].type if items else wanted.element), tuple(items))


def _set(raw: object, wanted: Type) -> Value:
    items = [_typed(each, wanted.element) for each in _as_list(raw, "set")]
    return set_value(items, wanted.element)


def _map(raw: object, wanted: Type) -> Value:
    fields = _as_object(raw, "an object is required")
    return map_value(
        {n: _typed(each, wanted.element) for n, each in fields.items()}, wanted.element
    )


def _tuple(raw: object, wanted: Type) -> Value:
    items = _as_list(raw, "a tuple")
    if len(items) > len(wanted.inner):
        raise ValueError("too many tuple elements")
    if len(items) < len(wanted.inner):
        raise ValueError("not enough tuple elements")
    typed = [_typed(each, inner) for each, inner in zip(items, wanted.inner, strict=True)]
    return tuple_value(typed)


def _object(raw: object, wanted: Type) -> Value:
    given, known = _as_object(raw, "an object is required"), wanted.fields()
    for name in given:
        if name not in known:
            raise ValueError(f"unsupported attribute {quote(name)}")
    return object_value({n: _typed(given.get(n), inner) for n, inner in wanted.attributes})


def _primitive(raw: object, wanted: Type) -> Value:
    is_compound = isinstance(raw, list | dict)
    if is_compound:
        raise ValueError(f"{wanted.kind} is required")
    if wanted == STRING:
        if isinstance(raw, bool):
            return string("true" if raw else "false")
        return string(str(raw))
    if wanted == NUMBER and isinstance(raw, bool):
        raise ValueError("number is required")
    if wanted == BOOL and isinstance(raw, _Number):
        raise ValueError("bool is required")
    try:
        return convert(_implied(str(raw) if isinstance(raw, str) else raw), wanted)
    except ConversionError as error:
        raise ValueError(str(error)) from None


def _dynamic(raw: object, _wanted: Type) -> Value:
    fields = _as_object(raw, "invalid character looking for beginning of object key string")
    for name in fields:
        if name not in {"type", "value"}:
            raise ValueError(f"invalid key {quote(name)} in dynamically-typed value")
    if "type" not in fields:
        raise ValueError("missing type in dynamically-typed value")
    return _typed(fields.get("value"), _type(fields["type"]))


_READERS: Mapping[Kind, Callable[[object, Type], Value]] = {
    Kind.DYNAMIC: _dynamic,
    Kind.STRING: _primitive,
    Kind.NUMBER: _primitive,
    Kind.BOOL: _primitive,
    Kind.LIST: _list,
    Kind.SET: _set,
    Kind.MAP: _map,
    Kind.TUPLE: _tuple,
    Kind.OBJECT: _object,
}


def _type(raw: object) -> Type:
    words = {"string": STRING, "number": NUMBER, "bool": BOOL, "dynamic": DYNAMIC}
    if isinstance(raw, str) and raw in words:
        return words[raw]
    if isinstance(raw, list) and len(raw) >= 2:
        collections = {"list": list_of, "set": set_of, "map": map_of}
        if raw[0] in collections:
            return collections[raw[0]](_type(raw[1]))
        if raw[0] == "tuple" and isinstance(raw[1], list):
            return tuple_of([_type(each) for each in raw[1]])
        if raw[0] == "object" and isinstance(raw[1], dict):
            return object_of({name: _type(each) for name, each in raw[1].items()})
    raise ValueError("invalid type in dynamically-typed value")
