"""Records <-> plain values that JSON can hold; what comes in is checked against the fields' types.

Records become objects, tuples lists, bytes base64. What a record is made of follows from its declared
fields, so one that gets a new field needs nothing here. JSON, and not pickle: an engine handles other
people's images, and a message must never be able to do more than to be read.
"""

from __future__ import annotations

import base64
import binascii
import functools
import types
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from polyarch.errors import InternalError
from polyarch.record import field_names

__all__ = ["decode", "encode"]

_T = TypeVar("_T")
_PLAIN: tuple[type, ...] = (str, int, float, bool, type(None))


def encode(value: object) -> object:
    """Return a record, or what fields hold, as plain values."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple):
        return [encode(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): encode(each) for key, each in value.items()}
    return {name: encode(getattr(value, name)) for name in field_names(type(value))}


def decode(kind: type[_T], data: object) -> _T:
    """Return the record of class `kind` that `encode` made `data` of. Raises InternalError."""
    return _checked(_decode(kind, data), kind)


def _decode(kind: object, data: object) -> object:
    """Read what a field is declared to hold: `kind` is a class, a union, or a generic like tuple[str, ...]."""
    kind = getattr(kind, "__supertype__", kind)
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return _decode_optional(kind, data)
    if origin is tuple:
        return _decode_tuple(get_args(kind), _checked(data, list))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = get_args(kind)[1]
        return {key: _decode(inner, each) for key, each in _checked(data, dict).items()}
    if not isinstance(kind, type):
        raise InternalError(f"a message can't hold a {kind}")
    if issubclass(kind, (bytes, *_PLAIN)):
        return _decode_scalar(kind, data)
    return _decode_record(kind, _checked(data, dict))


def _decode_scalar(kind: type, data: object) -> object:
    if kind is bytes:
        return _decode_bytes(_checked(data, str))
    if issubclass(kind, StrEnum):
        return _decode_choice(kind, _checked(data, str))
    return _decode_plain(kind, data)


def _decode_optional(kind: object, data: object) -> object:
    kinds = [each for each in get_args(kind) if each is not type(None)]
    if data is None and len(kinds) < len(get_args(kind)):
        return None
    if len(kinds) != 1:
        raise InternalError(f"a message can't hold one of {kind}")
    return _decode(kinds[0], data)


def _decode_tuple(kinds: Sequence[object], items: Sequence[object]) -> tuple[object, ...]:
    if kinds[-1] is Ellipsis:
        return tuple(_decode(kinds[0], each) for each in items)
    if len(items) != len(kinds):
        raise InternalError(f"a message holds {len(items)} values instead of {len(kinds)}")
    return tuple(_decode(kind, each) for kind, each in zip(kinds, items, strict=True))


def _decode_choice(kind: type[StrEnum], data: str) -> StrEnum:
    try:
        return kind(data)
    except ValueError as error:
        raise InternalError(f"a message holds no {kind.__name__}: {data!r}") from error


def _decode_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InternalError("a message holds bytes that are no base64") from error


def _decode_plain(kind: type, data: object) -> object:
    # A whole number is a fine time; a truth value is no number.
    fits = type(data) is kind or (kind is float and type(data) is int)
    return _checked(data, object if fits else kind)


def _decode_record(kind: type, fields: dict[str, object]) -> object:
    kinds = _kinds(kind)
    if fields.keys() != kinds.keys():
        odd = ", ".join(sorted(fields.keys() ^ kinds.keys()))
        raise InternalError(f"a message doesn't hold the fields of a {kind.__name__}: {odd}")
    return kind(**{name: _decode(kinds[name], each) for name, each in fields.items()})


@functools.cache
def _kinds(kind: type) -> dict[str, object]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in field_names(kind)}


def _checked(data: object, kind: type[_T]) -> _T:
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is int):
        raise InternalError(f"a message holds a {type(data).__name__} instead of a {kind.__name__}")
    return data
