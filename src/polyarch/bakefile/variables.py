"""Variables of bake files: what they are worth, of what type, and what `--list=variables` shows of them.

Source: documentation of bake files, and behaviour of buildx's `hclparser`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from polyarch.bakefile.hcl.body import Attribute, Block
from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.jsonvalues import from_json
from polyarch.bakefile.hcl.numbers import from_float
from polyarch.bakefile.hcl.typeexpr import read_type
from polyarch.bakefile.hcl.types import BOOL, DYNAMIC, STRING, Kind, Type
from polyarch.bakefile.hcl.values import (
    FALSE,
    TRUE,
    Value,
    json_text,
    list_value,
    map_value,
    number,
    set_value,
    string,
    tuple_value,
)
from polyarch.errors import BakeFileError, InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import parse_bool, parse_float
from polyarch.record import frozen

__all__ = [
    "Setting",
    "Shown",
    "Variable",
    "as_truth",
    "overridden",
    "read_variable",
    "shown",
    "with_default",
]


class Variable(NamedTuple):
    """A `variable` block; `type` is None if none is written."""

    name: str
    block: Block
    type: Type | None
    default: Attribute | None
    description: str
    validations: tuple[Block, ...]


class Setting(NamedTuple):
    """What a variable is set to from outside, and whether that is JSON."""

    text: str
    is_json: bool


@frozen
class Shown:
    """A variable as lists show it; None for null."""

    name: str
    type: str = ""
    value: str | None = None
    description: str = ""


def read_variable(block: Block, description: str) -> Variable:
    """Read a block. Raises HclError."""
    attributes = block.body.attributes
    kind: Type | None = None
    if "type" in attributes:
        found, is_any = read_type(attributes["type"].expression)
        kind = found if found != DYNAMIC or is_any else None
    return Variable(
        name=block.labels[0],
        block=block,
        type=kind,
        default=attributes.get("default"),
        description=description,
        validations=tuple(each for each in block.body.blocks if each.type == "validation"),
    )


def with_default(variable: Variable, value: Value) -> Value:
    """Return the default as a value of the variable's type. Raises BakeFileError."""
    if variable.type is None:
        return value
    try:
        return convert(value, variable.type)
    except ConversionError as error:
        raise BakeFileError(
            f"invalid type {variable.type.friendly()} for variable {variable.name} default value: {error}"
        ) from None


def overridden(variable: Variable, default: Value | None, setting: Setting) -> Value:
    """Return the value of a variable that is set from outside. Raises BakeFileError."""
    name, kind = variable.name, variable.type
    if kind is not None and setting.is_json:
        try:
            return from_json(setting.text, kind)
        except ValueError as error:
            raise BakeFileError(f"failed to convert variable {name} from JSON: {error}") from None
    if kind is not None and kind.kind in {Kind.LIST, Kind.SET, Kind.TUPLE, Kind.MAP}:
        try:
            return _from_csv(name, setting.text, kind)
        except InputError as error:
            raise BakeFileError(f"failed to convert variable {name} from CSV: {error}") from None
    if kind is not None and kind.is_primitive:
        return _primitive(name, setting.text, kind)
    if kind is not None:
        raise BakeFileError(f"unsupported type {kind.friendly()} for variable {name}")
    if default is None or default.type == DYNAMIC:
        return string(setting.text)
    if default.type.is_primitive:
        return _primitive(name, setting.text, default.type)
    raise BakeFileError(f"unsupported type {default.type.friendly()} for variable {name}")


def _primitive(name: str, text: str, kind: Type) -> Value:
    if kind == STRING:
        return string(text)
    try:
        if kind == BOOL:
            return TRUE if parse_bool(text) else FALSE
        found = parse_float(text)
    except InputError as error:
        raise BakeFileError(f"failed to parse {name} as {kind.kind}: {error}") from None
    if math.isnan(found) or math.isinf(found):
        raise BakeFileError(f"failed to parse {name} as number: invalid number value")
    return number(from_float(found))


def _from_csv(name: str, text: str, kind: Type) -> Value:
    try:
        fields = csv_fields(text)
    except InputError as error:
        raise InputError(f"failed to parse {text} as CSV: {error}") from None
    if kind.kind is Kind.TUPLE:
        return _tuple(name, fields, kind)
    if not kind.element.is_primitive:
        raise InputError(f"unsupported type {kind.friendly()} for CSV specification")
    if kind.kind is Kind.MAP:
        return _map(name, fields, kind)
    items = [_element(name, each, kind.element, kind) for each in fields]
    make = list_value if kind.kind is Kind.LIST else set_value
    return make(items, kind.element)


def _element(name: str, text: str, kind: Type, whole: Type) -> Value:
    try:
        return _primitive(name, text, kind)
    except BakeFileError as error:
        raise InputError(f"failed to parse element of type {whole.friendly()}: {error}") from None


def _tuple(name: str, fields: list[str], kind: Type) -> Value:
    if len(kind.inner) != len(fields):
        raise InputError(
            f"tuple expects {len(kind.inner)} elements but only {len(fields)} provided"
        )
    if not all(each.is_primitive for each in kind.inner):
        raise InputError("unsupported type tuple for CSV specification")
    pairs = zip(fields, kind.inner, strict=True)
    return tuple_value([_element(name, text, inner, kind) for text, inner in pairs])


def _map(name: str, fields: list[str], kind: Type) -> Value:
    found: dict[str, Value] = {}
    for each in fields:
        try:
            pair = csv_fields(each, comma=":")
        except InputError as error:
            raise InputError(
                f"failed to parse {each} as k/v for variable {name}: {error}"
            ) from None
        if len(pair) != 2:
            raise InputError(f"expected one k/v pair but got {len(pair)} pieces from {each}")
        found[pair[0]] = _element(name, pair[1], kind.element, kind)
    return map_value(found, kind.element)


def shown(variable: Variable, value: Value) -> Shown:
    """Return what lists show of a variable."""
    kind = variable.type
    text: str | None = None
    if not value.is_null:
        if kind is not None:
            text = json_text(value, kind)
            if kind == STRING:
                text = text.strip('"')
        elif value.type.is_primitive:
            text = str(convert(value, STRING).raw)
        else:
            text = json_text(value)
    return Shown(
        name=variable.name,
        type=kind.friendly(constraint=True) if kind is not None else "",
        value=text,
        description=variable.description,
    )


def as_truth(value: Value) -> bool:
    """Return the result of a condition. Raises ConversionError."""
    return bool(convert(value, BOOL).raw)
