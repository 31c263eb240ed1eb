"""Attributes and elements of values: `a.b` and `a[b]`, with HCL's messages for what isn't there.

Source: behaviour of hashicorp/hcl, `GetAttr` and `Index`.
"""

from __future__ import annotations

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.nodes import Attr, Step
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.types import NUMBER, STRING, Kind, Type
from polyarch.bakefile.hcl.values import Value
from polyarch.golang.strconv import quote
from polyarch.text.nearest import nearest

__all__ = ["attribute", "element", "follow"]

_NO_ELEMENT = "The given key does not identify an element in this collection value"


def follow(value: Value, steps: tuple[Step, ...]) -> Value:
    """Return what of a value the steps lead to. Raises HclError."""
    for step in steps:
        value = (
            attribute(value, step.name, step.at)
            if isinstance(step, Attr)
            else element(value, step.key, step.at)
        )
    return value


def attribute(value: Value, name: str, at: Range) -> Value:
    """Return an attribute. Raises HclError."""
    if value.is_null:
        raise HclError(
            "Attempt to get attribute from null value",
            "This value is null, so it does not have any attributes.",
            at,
        )
    kind = value.type.kind
    if kind in {Kind.OBJECT, Kind.MAP}:
        if name in value.raw:
            found: Value = value.raw[name]
            return found
        near = nearest(name, value.raw)
        hint = f" Did you mean {quote(near)}?" if near else ""
        if kind is Kind.MAP:
            detail = f"This map does not have an element with the key {quote(name)}."
            raise HclError("Missing map element", detail + hint, at)
        detail = f"This object does not have an attribute named {quote(name)}."
        raise HclError("Unsupported attribute", detail + hint, at)
    if value.type.is_primitive:
        detail = f"Can't access attributes on a primitive-typed value ({value.type.friendly()})."
    elif kind is Kind.LIST and value.type.element.kind is Kind.OBJECT:
        detail = "Can't access attributes on a list of objects. Did you mean to access an attribute for a specific element of the list, or across all elements of the list?"
    elif kind is Kind.SET and value.type.element.kind is Kind.OBJECT:
        detail = "Can't access attributes on a set of objects. Did you mean to access an attribute across all elements of the set?"
    else:
        detail = "This value does not have any attributes."
    raise HclError("Unsupported attribute", detail, at)


def element(value: Value, key: Value, at: Range) -> Value:
    """Return an element. Raises HclError."""
    if value.is_null:
        raise HclError(
            "Attempt to index null value",
            "This value is null, so it does not have any indices.",
            at,
        )
    if key.is_null:
        raise HclError("Invalid index", "Can't use a null value as an indexing key.", at)
    kind = value.type.kind
    if kind in {Kind.LIST, Kind.TUPLE}:
        return _of_sequence(value, _key(key, NUMBER, at), at)
    if kind in {Kind.MAP, Kind.OBJECT}:
        name = _key(key, STRING, at).raw
        if name in value.raw:
            found: Value = value.raw[name]
            return found
        more = ""
        if kind is Kind.OBJECT and key.type == NUMBER:
            more = " An object only supports looking up attributes by name, not by numeric index."
        raise HclError("Invalid index", f"{_NO_ELEMENT}.{more}", at)
    if kind is Kind.SET:
        raise HclError(
            "Invalid index",
            "Elements of a set are identified only by their value and don't have any separate index or key to select with, so it's only possible to perform operations across all elements of the set.",
            at,
        )
    raise HclError("Invalid index", "This value does not have any indices.", at)


def _key(key: Value, wanted: Type, at: Range) -> Value:
    try:
        return convert(key, wanted)
    except ConversionError as error:
        raise HclError("Invalid index", f"{_NO_ELEMENT}: {error}.", at) from None


def _of_sequence(value: Value, key: Value, at: Range) -> Value:
    num = key.raw
    if num.is_integer and 0 <= num.value < len(value.raw):
        found: Value = value.raw[int(num.value)]
        return found
    if not num.is_integer:
        why = (
            "indexing a sequence requires a whole number, but the given index has a fractional part"
        )
    elif num.value < 0:
        why = "a negative number is not a valid index for a sequence"
    elif not value.raw:
        why = "the collection has no elements"
    else:
        why = "the given index is greater than or equal to the length of the collection"
    raise HclError("Invalid index", f"{_NO_ELEMENT}: {why}.", at)
