"""Values of HCL: a type and what Python has for it.

Texts are in Unicode's normal form C, as go-cty has them; numbers are `Num`s; lists, sets and tuples are tuples
of values, maps and objects dicts in the order of their keys. None is null.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple

from polyarch.bakefile.hcl.numbers import Num, from_int, text
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
from polyarch.golang.json import compact
from polyarch.golang.strconv import quote

__all__ = [
    "FALSE",
    "NULL",
    "TRUE",
    "Value",
    "elements",
    "equals",
    "integer",
    "json_text",
    "list_value",
    "map_value",
    "null_of",
    "number",
    "object_value",
    "set_value",
    "string",
    "tuple_value",
]


class Value(NamedTuple):
    """A value; `raw` is as the module says."""

    type: Type
    raw: Any

    @property
    def is_null(self) -> bool:
        """Whether it is null."""
        return self.raw is None


NULL = Value(DYNAMIC, None)
TRUE = Value(BOOL, True)
FALSE = Value(BOOL, False)


def string(content: str) -> Value:
    """Return a text."""
    if not content.isascii():
        content = unicodedata.normalize("NFC", content)
    return Value(STRING, content)


def number(num: Num) -> Value:
    """Return a number."""
    return Value(NUMBER, num)


def integer(count: int) -> Value:
    """Return a whole number, such as a count."""
    return Value(NUMBER, from_int(count))


def null_of(kind: Type) -> Value:
    """Return a null of a type."""
    return Value(kind, None)


def tuple_value(items: Sequence[Value]) -> Value:
    """Return a tuple."""
    return Value(tuple_of([each.type for each in items]), tuple(items))


def list_value(items: Sequence[Value], element: Type) -> Value:
    """Return a list; `element` is its type if it is empty."""
    return Value(list_of(items[0].type if items else element), tuple(items))


def map_value(items: Mapping[str, Value], element: Type) -> Value:
    """Return a map; `element` is its type if it is empty."""
    ordered = dict(sorted(items.items()))
    first = next(iter(ordered.values()), None)
    return Value(map_of(first.type if first else element), ordered)


def object_value(items: Mapping[str, Value]) -> Value:
    """Return an object."""
    ordered = dict(sorted(items.items()))
    return Value(object_of({name: each.type for name, each in ordered.items()}), ordered)


def set_value(items: Sequence[Value], element: Type) -> Value:
    """Return a set: each value once, in their order."""
    kept: list[Value] = []
    for each in items:
        if not any(equals(each, other) for other in kept):
            kept.append(each)
    kept.sort(key=cmp_to_key(_compare))
    return Value(set_of(kept[0].type if kept else element), tuple(kept))


def _compare(one: Value, other: Value) -> int:
    if one.is_null or other.is_null:
        return int(one.is_null) - int(other.is_null)
    left, right = (_order(each) for each in (one, other))
    return int(left > right) - int(left < right)


def _order(value: Value) -> Any:
    if value.type.kind is Kind.NUMBER:
        return value.raw.key()
    if value.type.kind is Kind.BOOL:
        return value.raw
    if value.type.kind is Kind.STRING:
        return value.raw.encode("utf-8", "surrogateescape")
    return _hash_text(value).encode("utf-8", "surrogateescape")


def _hash_text(value: Value) -> str:
    """Write a value as go-cty does to put compound ones into an order."""
    kind = value.type.kind
    if value.is_null:
        return "~"
    if kind is Kind.NUMBER:
        return text(value.raw)
    if kind is Kind.BOOL:
        return "T" if value.raw else "F"
    if kind is Kind.STRING:
        return quote(value.raw)
    if kind is Kind.MAP:
        inside = "".join(f"{quote(k)}:{_hash_text(v)};" for k, v in value.raw.items())
        return f"{{{inside}}}"
    parts = value.raw.values() if kind is Kind.OBJECT else value.raw
    inside = "".join(f"{_hash_text(each)};" for each in parts)
    return f"[{inside}]" if kind in {Kind.LIST, Kind.SET} else f"<{inside}>"


def elements(value: Value) -> Iterator[tuple[Value, Value]]:
    """Yield keys and values of what `for` goes through; a set's keys are its values."""
    if isinstance(value.raw, dict):
        for key, each in value.raw.items():
            yield string(key), each
    elif value.type.kind is Kind.SET:
        for each in value.raw:
            yield each, each
    else:
        for index, each in enumerate(value.raw):
            yield integer(index), each


def equals(one: Value, other: Value) -> bool:
    """Tell whether two values are equal: null equals any null, and otherwise types must be the same."""
    if one.is_null or other.is_null:
        return one.is_null and other.is_null
    kind = one.type.kind
    if kind is not other.type.kind:
        return False
    if kind is Kind.NUMBER:
        return bool(one.raw.key() == other.raw.key())
    if isinstance(one.raw, dict):
        return one.raw.keys() == other.raw.keys() and all(
            equals(each, other.raw[name]) for name, each in one.raw.items()
        )
    if isinstance(one.raw, tuple):
        return len(one.raw) == len(other.raw) and all(
            equals(left, right) for left, right in zip(one.raw, other.raw, strict=True)
        )
    return bool(one.raw == other.raw)


def json_text(value: Value, wanted: Type | None = None) -> str:
    """Write a value as JSON. Raises ValueError for infinities.

    `wanted` is the type that a reader knows; where that may be anything, the type is written beside the value.
    """
    if wanted is not None and wanted.kind is Kind.DYNAMIC and value.type.kind is not Kind.DYNAMIC:
        return f'{{"value":{json_text(value)},"type":{_type_json(value.type)}}}'
    if value.is_null:
        return "null"
    if value.type.is_primitive:
        return _scalar_json(value)
    if value.type.kind in {Kind.BYTES, Kind.TYPE}:
        raise ValueError(f"cannot serialize {value.type.kind} as JSON")
    if isinstance(value.raw, dict):
        return _object_json(value.raw, wanted)
    return _list_json(value.raw, wanted)


def _scalar_json(value: Value) -> str:
    if value.type.kind is Kind.BOOL:
        return "true" if value.raw else "false"
    if value.type.kind is Kind.STRING:
        return compact(value.raw).decode()
    if value.raw.infinite:
        raise ValueError("cannot serialize infinity as JSON")
    return text(value.raw)


def _object_json(fields: Mapping[str, Value], wanted: Type | None) -> str:
    types = dict(wanted.attributes) if wanted and wanted.attributes else {}
    rest = wanted.element if wanted and wanted.kind is Kind.MAP else None
    inside = (
        f"{compact(name).decode()}:{json_text(each, types.get(name, rest))}"
        for name, each in fields.items()
    )
    return f"{{{','.join(inside)}}}"


def _list_json(items: Sequence[Value], wanted: Type | None) -> str:
    types: Sequence[Type | None] = [None] * len(items)
    if wanted is not None and wanted.inner:
        is_tuple = wanted.kind is Kind.TUPLE
        types = wanted.inner if is_tuple else [wanted.element] * len(items)
    return f"[{','.join(map(json_text, items, types))}]"


def _type_json(kind: Type) -> str:
    if kind.is_collection:
        return f'["{kind.kind}",{_type_json(kind.element)}]'
    if kind.kind is Kind.TUPLE:
        return f'["tuple",[{",".join(map(_type_json, kind.inner))}]]'
    if kind.kind is Kind.OBJECT:
        inside = ",".join(f"{compact(n).decode()}:{_type_json(t)}" for n, t in kind.attributes)
        return f'["object",{{{inside}}}]'
    return f'"{kind.kind}"'
