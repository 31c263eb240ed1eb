"""A value of one type -> the same of another type, where go-cty converts by itself.

Source: behaviour of go-cty's package `convert`, and its messages.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.bakefile.hcl.numbers import parse, text
from polyarch.bakefile.hcl.types import BOOL, DYNAMIC, NUMBER, STRING, Kind, Type
from polyarch.bakefile.hcl.unify import can_become, unify
from polyarch.bakefile.hcl.values import (
    FALSE,
    TRUE,
    Value,
    list_value,
    map_value,
    null_of,
    number,
    object_value,
    set_value,
    string,
    tuple_value,
)
from polyarch.golang.strconv import quote

__all__ = ["ConversionError", "as_text", "convert", "mismatch"]

_TRUTHS = {"true": TRUE, "1": TRUE, "false": FALSE, "0": FALSE}


class ConversionError(ValueError):
    """A value that can't be of the type that is wanted."""


def convert(value: Value, wanted: Type) -> Value:
    """Return `value` as one of the type `wanted`. Raises ConversionError."""
    given = value.type
    if given == wanted or wanted.kind is Kind.DYNAMIC:
        return value
    if not can_become(given, wanted):
        raise ConversionError(mismatch(given, wanted))
    if value.is_null:
        return null_of(_filled(given, wanted))
    return _convert(value, wanted)


def as_text(value: Value) -> str:
    """Return a value that can be a text as one. Raises ConversionError, also for null."""
    found = convert(value, STRING)
    if found.is_null:
        raise ConversionError("a string is required")
    return str(found.raw)


def _convert(value: Value, wanted: Type) -> Value:
    if wanted.is_primitive:
        return _primitive(value, wanted)
    kind = wanted.kind
    if kind is Kind.LIST:
        parts = _elements(value, wanted.element)
        return list_value(parts, _element_type(value, wanted))
    if kind is Kind.SET:
        return set_value(_elements(value, wanted.element), _element_type(value, wanted))
    if kind is Kind.MAP:
        names = list(value.raw)
        parts = _elements(value, wanted.element)
        return map_value(dict(zip(names, parts, strict=True)), _element_type(value, wanted))
    if kind is Kind.TUPLE:
        pairs = zip(value.raw, wanted.inner, strict=True)
        return tuple_value([convert(each, inner) for each, inner in pairs])
    return _object(value, wanted)


def _element_type(value: Value, wanted: Type) -> Type:
    if wanted.element.kind is Kind.DYNAMIC and value.type.is_collection:
        return value.type.element
    return wanted.element


def _primitive(value: Value, wanted: Type) -> Value:
    if wanted == STRING:
        if value.type == NUMBER:
            return string(text(value.raw))
        return string("true" if value.raw else "false")
    if wanted == NUMBER:
        try:
            return number(parse(value.raw))
        except ValueError:
            raise ConversionError("a number is required") from None
    found = _TRUTHS.get(value.raw)
    if found is None:
        lower = value.raw.lower()
        more = f'; to convert from string, use lowercase "{lower}"' if lower in _TRUTHS else ""
        raise ConversionError(f"a bool is required{more}")
    return found


def _elements(value: Value, element: Type) -> Sequence[Value]:
    parts = list(value.raw.values()) if isinstance(value.raw, dict) else list(value.raw)
    if element.kind is Kind.DYNAMIC and not value.type.is_collection:
        element = unify([each.type for each in parts]) or element
    parts = [convert(each, element) for each in parts]
    kinds = [each.type for each in parts]
    if any(each != kinds[0] for each in kinds):
        # What may be anything inside came out differently.
        common = unify(kinds)
        if common is None:
            raise ConversionError("cannot find a common base type for all elements")
        parts = [convert(each, common) for each in parts]
    return parts


def _object(value: Value, wanted: Type) -> Value:
    items = {}
    for name, inner in wanted.attributes:
        if name in value.raw:
            items[name] = _field(name, value.raw[name], inner)
        elif name in wanted.optional:
            items[name] = null_of(inner)
        else:
            raise ConversionError(f"map has no element for required attribute {quote(name)}")
    return object_value(items)


def _field(name: str, value: Value, wanted: Type) -> Value:
    if not can_become(value.type, wanted):
        raise ConversionError(
            f"map element type is incompatible with attribute {quote(name)}: {mismatch(value.type, wanted)}"
        )
    return convert(value, wanted)


def _filled(given: Type, wanted: Type) -> Type:
    """Return the type of a null: where anything is wanted, what was given."""
    if given.kind is Kind.DYNAMIC or not wanted.has_dynamic():
        return wanted._replace(optional=frozenset())
    if wanted.kind is Kind.DYNAMIC:
        return given
    if wanted.is_collection:
        if given.is_collection:
            return wanted._replace(inner=(_filled(given.element, wanted.element),))
        parts = given.inner or tuple(each for _name, each in given.attributes)
        return wanted._replace(inner=(_filled(unify(parts) or DYNAMIC, wanted.element),))
    return wanted


def mismatch(given: Type, wanted: Type) -> str:
    """Say why there is no conversion, as go-cty does."""
    if given.kind is Kind.OBJECT and wanted.kind is Kind.OBJECT:
        return _object_mismatch(given, wanted)
    structural = {Kind.TUPLE: {Kind.LIST, Kind.SET}, Kind.OBJECT: {Kind.MAP}}
    if wanted.is_collection and given.kind in structural:
        if wanted.kind not in structural[given.kind]:
            return f"{wanted.friendly(constraint=True)} required"
        return _structural_mismatch(given, wanted)
    if given.is_collection and wanted.is_collection:
        return _collection_mismatch(given, wanted)
    if _is_plain(given, wanted):
        return f"{wanted.friendly()} required, but have {given.friendly()}"
    return f"{wanted.friendly(constraint=True)} required"


def _is_plain(given: Type, wanted: Type) -> bool:
    """Tell whether naming both types explains why there is no conversion."""
    if given.is_primitive != wanted.is_primitive or wanted == STRING:
        return True
    return {given.kind, wanted.kind} == {BOOL.kind, NUMBER.kind} or (
        given.kind is Kind.TUPLE and wanted.kind is Kind.OBJECT
    )


def _object_mismatch(given: Type, wanted: Type) -> str:
    fields = given.fields()
    missing = [n for n, _ in wanted.attributes if n not in fields and n not in wanted.optional]
    if len(missing) == 1:
        return f"attribute {quote(missing[0])} is required"
    if missing:
        comma = ", " if len(missing) > 2 else " "
        names = f"{', '.join(map(quote, missing[:-1]))}{comma}and {quote(missing[-1])}"
        return f"attributes {names} are required"
    for name, inner in wanted.attributes:
        if name in fields and not can_become(fields[name], inner):
            return f"attribute {quote(name)}: {mismatch(fields[name], inner)}"
    return "incorrect object attributes"


def _structural_mismatch(given: Type, wanted: Type) -> str:
    element = wanted.element
    if element.kind is Kind.DYNAMIC:
        return f"all {wanted.kind} elements must have the same type"
    numbered = tuple((str(index), each) for index, each in enumerate(given.inner))
    parts = given.attributes or numbered
    for key, each in parts:
        if not can_become(each, element):
            shown = quote(key) if given.attributes else key
            return f"element {shown}: {mismatch(each, element)}"
    return f"all elements must be {element.friendly(constraint=True)}"


def _collection_mismatch(given: Type, wanted: Type) -> str:
    fitting = {Kind.MAP} if wanted.kind is Kind.MAP else {Kind.LIST, Kind.SET}
    if given.kind not in fitting:
        return f"{wanted.friendly(constraint=True)} required"
    return f"incorrect {wanted.kind} element type: {mismatch(given.element, wanted.element)}"
