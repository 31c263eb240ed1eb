"""Types of HCL's values, as go-cty has them: what they are, how they are called, when they are equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "BOOL",
    "BYTES",
    "DYNAMIC",
    "NUMBER",
    "STRING",
    "TYPE",
    "Kind",
    "Type",
    "list_of",
    "map_of",
    "object_of",
    "set_of",
    "tuple_of",
]


class Kind(StrEnum):
    """What sort of type."""

    STRING = "string"
    NUMBER = "number"
    BOOL = "bool"
    DYNAMIC = "dynamic"
    LIST = "list"
    SET = "set"
    MAP = "map"
    TUPLE = "tuple"
    OBJECT = "object"
    BYTES = "bytes"
    TYPE = "type"
    """Of a value that is a type itself, the second argument of `convert`."""


_PRIMITIVE = frozenset({Kind.STRING, Kind.NUMBER, Kind.BOOL})
_COLLECTION = frozenset({Kind.LIST, Kind.SET, Kind.MAP})


class Type(NamedTuple):
    """A type: `inner` has a collection's one type or a tuple's types; `attributes` are an object's, sorted."""

    kind: Kind
    inner: tuple[Type, ...] = ()
    attributes: tuple[tuple[str, Type], ...] = ()
    optional: frozenset[str] = frozenset()

    @property
    def element(self) -> Type:
        """The type of a collection's elements."""
        return self.inner[0]

    @property
    def is_primitive(self) -> bool:
        """Whether it is a text, a number or a truth value."""
        return self.kind in _PRIMITIVE

    @property
    def is_collection(self) -> bool:
        """Whether it is a list, a set or a map."""
        return self.kind in _COLLECTION

    @property
    def is_iterable(self) -> bool:
        """Whether `for` goes through it."""
        return self.is_collection or self.kind in {Kind.TUPLE, Kind.OBJECT}

    def fields(self) -> dict[str, Type]:
        """Return an object's attributes by name."""
        return dict(self.attributes)

    def has_dynamic(self) -> bool:
        """Tell whether some part of it may be anything."""
        return (
            self.kind is Kind.DYNAMIC
            or any(each.has_dynamic() for each in self.inner)
            or any(each.has_dynamic() for _name, each in self.attributes)
        )

    def friendly(self, *, constraint: bool = False) -> str:
        """Return what messages call it; as a constraint, "any" instead of "dynamic"."""
        if self.kind is Kind.DYNAMIC:
            return "any type" if constraint else "dynamic"
        if self.is_collection:
            element = self.element
            # What may be anything is called by the kind of collection alone.
            inner = "any single type" if element.kind is Kind.DYNAMIC and constraint else ""
            return f"{self.kind} of {inner or element.friendly(constraint=constraint)}"
        return str(self.kind)


STRING = Type(Kind.STRING)
NUMBER = Type(Kind.NUMBER)
BOOL = Type(Kind.BOOL)
DYNAMIC = Type(Kind.DYNAMIC)
BYTES = Type(Kind.BYTES)
TYPE = Type(Kind.TYPE)


def list_of(element: Type) -> Type:
    """Return the type of lists of `element`."""
    return Type(Kind.LIST, (element,))


def set_of(element: Type) -> Type:
    """Return the type of sets of `element`."""
    return Type(Kind.SET, (element,))


def map_of(element: Type) -> Type:
    """Return the type of maps from texts to `element`."""
    return Type(Kind.MAP, (element,))


def tuple_of(elements: Sequence[Type]) -> Type:
    """Return the type of tuples of these."""
    return Type(Kind.TUPLE, tuple(elements))


def object_of(attributes: Mapping[str, Type], optional: frozenset[str] = frozenset()) -> Type:
    """Return the type of objects with these attributes."""
    return Type(Kind.OBJECT, (), tuple(sorted(attributes.items())), optional)
