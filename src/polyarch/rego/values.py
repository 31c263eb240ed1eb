"""What terms stand for: null, booleans, numbers, texts, arrays (tuples), objects and sets.

Python takes `True` for 1, so what makes values equal, and sorts them, is their `key`: by type first, in the order of
Rego's (null, boolean, number, string, array, object, set), then by value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Key", "Obj", "SetOf", "Wanted", "equal", "from_plain", "key_of", "plain", "type_of"]

Key = tuple[object, ...]


class Wanted(Exception):
    """A field of the input was asked for that nobody has found out yet; `field` is its path below the input."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class Obj:
    """An object, its keys in their order.

    `pending` has the keys whose values aren't known yet, with the fields they are: asking for one raises Wanted.
    Whoever lists the object doesn't see them.
    """

    __slots__ = ("_key", "_pairs", "pending")

    def __init__(
        self, pairs: Iterable[tuple[object, object]] = (), pending: Mapping[str, str] | None = None
    ) -> None:
        found = {key_of(name): (name, value) for name, value in pairs}
        self._pairs = {key: found[key] for key in sorted(found)}
        self._key: Key | None = None
        self.pending = pending or {}

    def __len__(self) -> int:
        return len(self._pairs)

    def items(self) -> Iterator[tuple[object, object]]:
        """Give names with their values, sorted."""
        return iter(self._pairs.values())

    def has(self, name: object) -> bool:
        """Tell whether there is a value. Raises Wanted."""
        if isinstance(name, str) and name in self.pending:
            raise Wanted(self.pending[name])
        return key_of(name) in self._pairs

    def get(self, name: object, default: object = None) -> object:
        """Return the value of a name. Raises Wanted."""
        if isinstance(name, str) and name in self.pending:
            raise Wanted(self.pending[name])
        found = self._pairs.get(key_of(name))
        return default if found is None else found[1]

    def key(self) -> Key:
        """Return what makes it equal to others."""
        if self._key is None:
            flat: list[object] = []
            for name, (_, value) in self._pairs.items():
                flat += (name, key_of(value))
            self._key = (5, tuple(flat))
        return self._key


class SetOf:
    """A set, its members in their order."""

    __slots__ = ("_members",)

    def __init__(self, members: Iterable[object] = ()) -> None:
        found: dict[Key, object] = {}
        for each in members:
            found.setdefault(key_of(each), each)
        self._members = {key: found[key] for key in sorted(found)}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[object]:
        return iter(self._members.values())

    def has(self, member: object) -> bool:
        """Tell whether something is in it."""
        return key_of(member) in self._members

    def key(self) -> Key:
        """Return what makes it equal to others."""
        return (6, tuple(self._members))


def key_of(value: object) -> Key:
    """Return what makes a value equal to others, and sorts it among them."""
    if isinstance(value, str):
        return (3, value)
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, value)
    if isinstance(value, tuple):
        return (4, tuple(map(key_of, value)))
    assert isinstance(value, Obj | SetOf)
    return value.key()


def equal(one: object, other: object) -> bool:
    """Tell whether two values are the same."""
    return key_of(one) == key_of(other)


def type_of(value: object) -> str:
    """Return the name of a value's type, as `type_name` does."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, tuple):
        return "array"
    return "set" if isinstance(value, SetOf) else "object"


def from_plain(value: object) -> object:
    """Return what a value of JSON stands for."""
    if isinstance(value, Mapping):
        return Obj((key, from_plain(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(from_plain, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def plain(value: object) -> object:
    """Return a value as JSON has it: sets are arrays, and keys that aren't texts are written as JSON."""
    if isinstance(value, Obj):
        return {_name(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | SetOf):
        return [plain(each) for each in value]
    return value


def _name(key: object) -> str:
    if isinstance(key, str):
        return key
    from polyarch.golang.json import compact  # noqa: PLC0415 hardly any object has such keys

    return compact(plain(key)).decode()
