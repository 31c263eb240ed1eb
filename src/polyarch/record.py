"""Records: classes whose fields are declared and whose methods are made, as `dataclasses` makes them.

The standard library's decorator writes source code and compiles it, which takes about 0.4 ms for each
class: with the two hundred of this program longer than a whole unchanged build may last. These are
made of closures, in a tenth of that, and a type checker sees no difference (PEP 681). The price is a
call that takes a few microseconds more, so values made by the thousand are named tuples.

    @frozen
    class Point:
        x: int
        y: int = 0
        label: str = field(default="", compare=False)

Fields are given by keyword. A `__post_init__` is called at the end of the initialisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing import dataclass_transform
else:

    def dataclass_transform(**_options: object) -> Callable[[Any], Any]:
        return lambda function: function


__all__ = ["asdict", "field", "field_names", "frozen", "mutable", "replace"]

T = TypeVar("T")
C = TypeVar("C", bound=type)

_MISSING: Any = object()
_ATOMS = (str, int, type(None))
"""Most fields are of these types, which are told sooner than that a value is no record."""


class _Field:
    """How one field is filled, compared and shown."""

    __slots__ = ("compare", "default", "factory", "repr")

    def __init__(
        self, default: object, factory: Callable[[], object], compare: bool, shown: bool
    ) -> None:
        self.default = default
        self.factory = factory
        self.compare = compare
        self.repr = shown


def field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    compare: bool = True,
    repr: bool = True,
) -> Any:
    """Say more of a field than a default value can: as `dataclasses.field`."""
    return _Field(default, default_factory, compare, repr)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: C) -> C:
    """Make a class a record whose instances never change, and are equal if their fields are."""
    _add_methods(cls)
    for name, method in (("__eq__", _equal), ("__hash__", _hash)):
        if cls.__dict__.get(name) is None:
            setattr(cls, name, method)
    cls.__setattr__ = _refuse  # type: ignore[method-assign]
    cls.__delattr__ = _refuse  # type: ignore[method-assign, assignment]
    return cls


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def mutable(cls: C) -> C:
    """Make a class a record whose fields may be set; each instance is equal to itself alone."""
    _add_methods(cls)
    return cls


def replace(value: T, /, **changes: object) -> T:
    """Return a copy of a record with other values for some fields. Raises TypeError for unknown ones."""
    kept = {name: value.__dict__[name] for name in type(value).__record_fields__}  # type: ignore[attr-defined]
    return type(value)(**{**kept, **changes})


def asdict(value: object) -> dict[str, object]:
    """Return the fields of a record by name; records within it, alone or in tuples, likewise."""
    return {name: _plain(value.__dict__[name]) for name in _fields_of(type(value))}


def field_names(kind: type) -> tuple[str, ...]:
    """Return the names of a record's fields, in the order in which they are declared."""
    return tuple(_fields_of(kind))


def _fields_of(kind: type) -> dict[str, _Field]:
    fields: dict[str, _Field] = kind.__record_fields__  # type: ignore[attr-defined]
    return fields


def _plain(value: object) -> object:
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return asdict(value) if hasattr(type(value), "__record_fields__") else value


class _StandardFields:
    """Gives `dataclasses` its own view of a record, when it asks: nobody does in a usual build.

    Programs that have values of ours take them apart by it, as those that compare them with recorded ones.
    """

    def __get__(self, _instance: object, owner: type) -> object:
        import dataclasses  # noqa: PLC0415 what this module saves

        fields = _fields_of(owner)
        specified = [
            (name, object, dataclasses.field(default=None, compare=each.compare, repr=each.repr))
            for name, each in fields.items()
        ]
        twin: Any = dataclasses.make_dataclass(owner.__name__, specified, kw_only=True)
        return twin.__dataclass_fields__


def _refuse(self: object, name: str, *_value: object) -> None:
    raise AttributeError(f"{name!r} of a {type(self).__name__} can't be changed")


def _add_methods(cls: type) -> None:
    is_plain = not any(isinstance(value, _Field) for value in cls.__dict__.values())
    # Of many classes that a build loads nothing is ever made: what isn't asked for isn't found out.
    cls.__record_fields__ = _LateFields(cls) if is_plain else _collect(cls)  # type: ignore[attr-defined]

    def initialize(self: object, **values: object) -> None:
        made = _named(_initializer(_fields_of(cls), hasattr(cls, "__post_init__")), cls)
        cls.__init__ = made  # type: ignore[misc]
        made(self, **values)

    cls.__init__ = _named(initialize, cls)  # type: ignore[misc]
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _repr  # type: ignore[method-assign, assignment]
    cls.__dataclass_fields__ = _StandardFields()  # type: ignore[attr-defined]


def _named(initialize: Callable[..., None], cls: type) -> Callable[..., None]:
    initialize.__name__, initialize.__qualname__ = "__init__", f"{cls.__qualname__}.__init__"
    return initialize


class _LateFields:
    """Stands for the fields of a class until they are asked for."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, _instance: object, _owner: type) -> dict[str, _Field]:
        fields = self._cls.__record_fields__ = _collect(self._cls)  # type: ignore[attr-defined]
        return fields


def _collect(cls: type) -> dict[str, _Field]:
    fields: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        if "__record_fields__" in base.__dict__:
            fields.update(_fields_of(base))
    for name, annotation in cls.__annotations__.items():
        if str(annotation).startswith("ClassVar"):
            continue
        given = cls.__dict__.get(name, _MISSING)
        if isinstance(given, _Field):
            if given.default is _MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, given.default)
            fields[name] = given
        else:
            fields[name] = _Field(given, _MISSING, True, True)
    return fields


def _initializer(fields: dict[str, _Field], has_post: bool) -> Callable[..., None]:
    names = fields.keys()
    needed = frozenset(
        name
        for name, each in fields.items()
        if each.default is _MISSING and each.factory is _MISSING
    )
    defaults = {name: each.default for name, each in fields.items() if each.default is not _MISSING}
    factories = {
        name: each.factory for name, each in fields.items() if each.factory is not _MISSING
    }

    def initialize(self: object, **values: object) -> None:
        given = values.keys()
        if not needed <= given or not given <= names:
            raise TypeError(_complaint(type(self).__name__, needed - given, given - names))
        state = self.__dict__
        state.update(defaults)
        for name, factory in factories.items():
            if name not in values:
                state[name] = factory()
        state.update(values)
        if has_post:
            self.__post_init__()  # type: ignore[attr-defined]

    return initialize


def _complaint(name: str, missing: frozenset[str], unknown: set[str]) -> str:
    if missing:
        return f"{name} needs a value for {', '.join(sorted(missing))}"
    return f"{name} has no field {', '.join(sorted(unknown))}"


def _compared(value: object) -> tuple[object, ...]:
    fields = type(value).__record_fields__  # type: ignore[attr-defined]
    state = value.__dict__
    return tuple(state[name] for name, each in fields.items() if each.compare)


def _equal(self: object, other: object) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    is_equal: bool = _compared(self) == _compared(other)
    return is_equal


def _hash(self: object) -> int:
    return hash(_compared(self))


def _repr(self: object) -> str:
    fields = _fields_of(type(self)).items()
    shown = (f"{name}={self.__dict__[name]!r}" for name, each in fields if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
