"""TOML as docker buildx writes it: the one form of a builder's configuration, whatever the user typed.

Keys are sorted, values before tables; texts are literal unless they need escapes; numbers are decimal.
Reading is the standard library's. Source: TOML 1.0; go-toml's documented defaults.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal

from polyarch.errors import InputError
from polyarch.pattern import pattern

__all__ = ["normalized", "written"]

Table = Mapping[str, object]

_BARE_KEY = pattern(r"[A-Za-z0-9_-]+\Z")
_NEEDS_ESCAPES = pattern(r"['\x00-\x08\n\x0b-\x1f\x7f]")
_ESCAPED = pattern(r'[\\"\x00-\x1f\x7f]')
_SHORT = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def normalized(text: str) -> str:
    """Return the same document in buildx's form. Raises InputError if it is none."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"no TOML: {error}") from error
    return written(document)


def written(document: Table) -> str:
    """Return the text of a document in buildx's form."""
    return "".join(f"{line}\n" for line in _lines(document, ""))


def _lines(table: Table, path: str) -> Iterator[str]:
    """Give the lines of a table: its values, then the tables in it, parted by blank lines."""
    tables = {key: value for key, value in sorted(table.items()) if _is_table(value)}
    values = {key: value for key, value in sorted(table.items()) if key not in tables}
    for key, value in values.items():
        yield f"{_key(key)} = {_value(value)}"
    is_parted = bool(values)
    for key, value in tables.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        for header, each in _elements(value, name):
            if is_parted:
                yield ""
            yield header
            yield from _lines(each, name)
            is_parted = True


def _elements(value: object, name: str) -> Iterator[tuple[str, Table]]:
    if isinstance(value, dict):
        yield f"[{name}]", value
    elif isinstance(value, list):
        for each in value:
            yield f"[[{name}]]", each


def _is_table(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, dict) for each in value)
    return isinstance(value, dict)


def _key(key: str) -> str:
    return key if _BARE_KEY.match(key) else _text(key)


def _text(text: str) -> str:
    if _NEEDS_ESCAPES.search(text) is None:
        return f"'{text}'"
    return '"' + _ESCAPED.sub(lambda match: _escape(match[0]), text) + '"'


def _escape(char: str) -> str:
    return _SHORT.get(char) or f"\\u{ord(char):04X}"


def _value(value: object) -> str:
    match value:
        case str():
            return _text(value)
        case float():
            return _number(value)
        case dt.datetime() | dt.time():
            return _moment(value)
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            pairs = (f"{_key(key)} = {_value(each)}" for key, each in sorted(value.items()))
            return f"{{{', '.join(pairs)}}}"
        case _:
            return str(value).lower()  # whole numbers, dates, true and false


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    text = f"{Decimal(repr(value)):f}" if abs(value) < 1e16 else f"{value:.0f}"
    return text if "." in text else f"{text}.0"


def _moment(value: dt.datetime | dt.time) -> str:
    text = value.isoformat().replace("+00:00", "Z")
    return re.sub(r"(\.\d*?)0+(?=\D|\Z)", r"\1", text)
