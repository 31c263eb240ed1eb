"""Values of Go structs: what buildx's templates reach into, `{{.Manifest.Digest}}`, and write as JSON.

A `Struct` says the fields of a type: their names in Go, their keys in JSON and what is in them. `read` makes a
value of a JSON document as Go's json.Unmarshal does: keys in any case, unknown ones left out, absent ones
zero. As JSON it is written by its keys, in the order of the fields, zero ones left out if they say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from polyarch.errors import IntegrityError
from polyarch.golang.template.values import GoValue, Value, go_text, to_json
from polyarch.golang.time import find_time

__all__ = [
    "ANY",
    "BOOL",
    "INT",
    "STRING",
    "TIME",
    "GoField",
    "GoStruct",
    "GoType",
    "ListOf",
    "MapOf",
    "Pointer",
    "Struct",
    "StructMap",
]


class GoType(Protocol):
    """What may be in a field."""

    def zero(self) -> Value:
        """Return what an absent field holds."""

    def read(self, value: object) -> Value:
        """Make a value of JSON. Raises IntegrityError."""


class _Nil(GoValue):
    """A nil pointer to a type."""

    is_nil = True

    def __init__(self, name: str) -> None:
        self.type_name = f"*{name}"

    def __bool__(self) -> bool:
        return False

    def go_text(self) -> str:
        """Write it as %v does."""
        return "<nil>"

    def to_json(self) -> object:
        """Return null."""
        return None


@dataclass(frozen=True, slots=True)
class _Scalar:
    """Texts, whole numbers, truth values."""

    kind: type[str | int | bool]

    def zero(self) -> Value:
        return self.kind()

    def read(self, value: object) -> Value:
        if isinstance(value, self.kind) and (self.kind is bool or not isinstance(value, bool)):
            return value
        raise IntegrityError(f"{value!r} is no {self.kind.__name__}")


class _Any:
    """Whatever JSON holds; keys of objects are sorted when they are written, as those of Go's maps."""

    def zero(self) -> Value:
        return None

    def read(self, value: object) -> Value:
        if isinstance(value, dict):
            return {key: self.read(value[key]) for key in sorted(value)}
        if isinstance(value, list):
            return [self.read(each) for each in value]
        if isinstance(value, int) and not isinstance(value, bool):
            # Go has no other numbers where nothing says of which type they are.
            return float(value)
        assert value is None or isinstance(value, (str, bool, float))
        return value


class _Instant(GoValue, str):
    """A time, as RFC 3339 has it."""

    type_name = "time.Time"
    __slots__ = ()

    def go_text(self) -> str:
        """Write it as time.Time.String does."""
        return str(find_time(self))

    def to_json(self) -> object:
        """Return the text, the fraction without zeros at its end."""
        time = find_time(self)
        assert time is not None
        return time.rfc3339()


class _Time:
    """A pointer to a time."""

    def zero(self) -> Value:
        return _Nil("time.Time")

    def read(self, value: object) -> Value:
        if isinstance(value, str) and find_time(value) is not None:
            return _Instant(value)
        raise IntegrityError(f"{value!r} is no time")


STRING, INT, BOOL = _Scalar(str), _Scalar(int), _Scalar(bool)
ANY, TIME = _Any(), _Time()


@dataclass(frozen=True, slots=True)
class ListOf:
    """A slice. A nil one is an empty tuple, which JSON has as null."""

    item: GoType

    def zero(self) -> Value:
        """Return a nil slice."""
        return ()

    def read(self, value: object) -> Value:
        """Read an array."""
        if not isinstance(value, list):
            raise IntegrityError(f"{value!r} is no list")
        return [self.item.read(each) for each in value]


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map from texts, sorted by them."""

    item: GoType

    def zero(self) -> Value:
        """Return a nil map."""
        return {}

    def read(self, value: object) -> Value:
        """Read an object."""
        if not isinstance(value, dict):
            raise IntegrityError(f"{value!r} is no object")
        return {key: self.item.read(value[key]) for key in sorted(value)}


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer to a struct."""

    to: Struct

    def zero(self) -> Value:
        """Return nil."""
        return _Nil(self.to.name)

    def read(self, value: object) -> Value:
        """Read an object."""
        return self.to.read(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoField:
    """A field: without a `key`, the keys of an embedded struct are those of the outer one."""

    name: str
    key: str = ""
    type: GoType
    omits: bool = False
    """Whether JSON leaves it out when it is zero."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A type of structs."""

    name: str
    fields: tuple[GoField, ...]

    def zero(self) -> Value:
        """Return one whose fields are all zero."""
        return self.read({})

    def read(self, value: object) -> GoStruct:
        """Make a value of a JSON object. Raises IntegrityError for fields of other types."""
        if not isinstance(value, dict):
            raise IntegrityError(f"{value!r} is no object")
        known = {key.lower(): each for key, each in value.items()}
        values: dict[str, Value] = {}
        for each in self.fields:
            found = value.get(each.key, known.get(each.key.lower())) if each.key else value
            values[each.name] = each.type.zero() if found is None else each.type.read(found)
        return GoStruct(self, values)

    def make(self, **values: Value) -> GoStruct:
        """Make a value of its fields; those that aren't named are zero."""
        zeros = {each.name: each.type.zero() for each in self.fields}
        return GoStruct(self, {**zeros, **values})


class GoStruct(GoValue, Mapping[str, Value]):
    """A value of a struct. `methods` are fields that neither JSON nor texts show."""

    is_struct = True

    def __init__(
        self, type_: Struct, values: Mapping[str, Value], methods: Mapping[str, Value] | None = None
    ) -> None:
        self.type_name = type_.name
        self._type = type_
        self._values = values
        self._methods = methods or {}

    def __getitem__(self, name: str) -> Value:
        for each in self._type.fields:
            if each.name == name:
                return self._values[name]
            inner = self._values[each.name]
            if not each.key and isinstance(inner, GoStruct) and name in inner:
                return inner[name]
        return self._methods[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, _Absent) is not _Absent

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def go_text(self) -> str:
        """Write it as %v does: the fields in braces, without their names."""
        return "{" + " ".join(go_text(each) for each in self._values.values()) + "}"

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        found: dict[str, object] = {}
        for each in self._type.fields:
            value = self._values[each.name]
            if not each.key and isinstance(value, GoStruct):
                found |= value.to_json()
            elif not (each.omits and _is_zero(value)):
                found[each.key] = to_json(value)
        return found


class StructMap(dict[str, Value]):
    """A map of structs: `index` finds one whose fields are all zero under a key that isn't there."""

    def __init__(self, values: Mapping[str, Value], item: Struct) -> None:
        super().__init__(values)
        self.item = item


class _Absent:
    """The default of a look-up."""


def _is_zero(value: Value) -> bool:
    return not value and not isinstance(value, GoStruct)
