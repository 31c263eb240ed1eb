"""What evaluation does with collections: their members, and what rules and comprehensions make of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyarch.rego.faults import At, RegoError
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import Obj, SetOf, equal

__all__ = ["CONFLICT", "Entry", "listed", "member_of", "nested", "object_of"]

CONFLICT = "eval_conflict_error"
Entry = tuple[tuple[object, ...], object, At]
"""What a rule adds to an object or a set: the names that lead to it, the value, the place of the rule."""


def listed(whole: object) -> Iterator[tuple[object, object]]:
    """Give the names and members of a collection; of anything else there are none."""
    if isinstance(whole, tuple):
        yield from enumerate(whole)
    elif isinstance(whole, Obj):
        yield from whole.items()
    elif isinstance(whole, SetOf):
        yield from ((each, each) for each in whole)


def object_of(pairs: Sequence[tuple[object, ...]], at: At) -> Obj:
    """Return an object of names and values. Raises RegoError for a name with two values."""
    made = Obj((name, value) for name, value in pairs)
    if len(made) < len(pairs) and not all(equal(made.get(name), value) for name, value in pairs):
        raise RegoError("object keys must be unique", at, kind=CONFLICT)
    return made


def member_of(value: object, name: object) -> object:
    """Return what a name stands for in a value, UNDEFINED for nothing. Raises Wanted."""
    if isinstance(value, Obj):
        return value.get(name) if value.has(name) else UNDEFINED
    if isinstance(value, SetOf):
        return name if value.has(name) else UNDEFINED
    if isinstance(value, tuple) and isinstance(name, int) and not isinstance(name, bool):
        return value[name] if 0 <= name < len(value) else UNDEFINED
    return UNDEFINED


def nested(entries: Sequence[Entry], *, has_members: bool) -> object:
    """Return the set or the object that entries are together. Raises RegoError for a name with two values."""
    if all(not names for names, _, _ in entries):
        return SetOf(value for _, value, _ in entries) if has_members else Obj()
    pairs = []
    for name in SetOf(names[0] for names, _, _ in entries if names):
        below = _below(entries, name)
        is_deep = has_members or any(names for names, _, _ in below)
        value = nested(below, has_members=has_members) if is_deep else _one_value(below)
        pairs.append((name, value))
    return Obj(pairs)


def _below(entries: Sequence[Entry], name: object) -> list[Entry]:
    """Return the entries that a name leads to, without that name."""
    return [
        (names[1:], value, at) for names, value, at in entries if names and equal(names[0], name)
    ]


def _one_value(entries: Sequence[Entry]) -> object:
    """Return the value that all entries have. Raises RegoError if they differ."""
    first = entries[0][1]
    if not all(equal(first, value) for _, value, _ in entries):
        raise RegoError("object keys must be unique", entries[-1][2], kind=CONFLICT)
    return first
