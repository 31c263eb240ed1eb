"""Arrays, sets and objects."""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.rego.builtins.given import Table, a_text, an_array, an_integer, an_object, members
from polyarch.rego.gather import member_of
from polyarch.rego.undefined import UNDEFINED, Unfit
from polyarch.rego.values import Obj, SetOf, equal

__all__ = ["OBJECTS"]


def _slice(array: object, start: object, end: object) -> object:
    whole, first, last = an_array(array), an_integer(start), an_integer(end)
    first, last = max(first, 0), min(max(last, 0), len(whole))
    return whole[first:last] if first < last else ()


def _flatten(array: object) -> object:
    found: list[object] = []
    for each in an_array(array):
        found += each if isinstance(each, tuple) else [each]
    return tuple(found)


def _intersection(sets: object) -> object:
    listed = [_a_set(each) for each in members(sets)]
    if not listed:
        return SetOf()
    first, *others = listed
    return SetOf(each for each in first if all(other.has(each) for other in others))


def _union(sets: object) -> object:
    return SetOf(each for one in members(sets) for each in _a_set(one))


def _a_set(value: object) -> SetOf:
    if isinstance(value, SetOf):
        return value
    raise Unfit


# --- objects ---


def _merged(one: object, other: object) -> object:
    if not isinstance(one, Obj) or not isinstance(other, Obj):
        return other
    found = [(name, value) for name, value in one.items() if not other.has(name)]
    for name, value in other.items():
        found.append((name, _merged(one.get(name), value) if one.has(name) else value))
    return Obj(found)


def _object_union(one: object, other: object) -> object:
    return _merged(an_object(one), an_object(other))


def _union_n(objects: object) -> object:
    result: object = Obj()
    for each in an_array(objects):
        result = _merged(result, an_object(each))
    return result


def _names(given: object) -> tuple[object, ...]:
    if isinstance(given, Obj):
        return tuple(name for name, _ in given.items())
    return members(given)


def _remove(whole: object, names: object) -> object:
    taken = SetOf(_names(names))
    return Obj((name, value) for name, value in an_object(whole).items() if not taken.has(name))


def _filter(whole: object, names: object) -> object:
    kept = SetOf(_names(names))
    return Obj((name, value) for name, value in an_object(whole).items() if kept.has(name))


def _get(whole: object, name: object, default: object) -> object:
    value: object = an_object(whole)
    for step in name if isinstance(name, tuple) else (name,):
        value = member_of(value, step)
        if value is UNDEFINED:
            return default
    return value


def _keys(whole: object) -> object:
    return SetOf(name for name, _ in an_object(whole).items())


def _is_subset(whole: object, part: object) -> object:
    if isinstance(whole, Obj) and isinstance(part, Obj):
        return all(
            whole.has(name)
            and (equal(whole.get(name), value) or _is_nested(whole.get(name), value))
            for name, value in part.items()
        )
    if isinstance(whole, SetOf) and isinstance(part, SetOf):
        return all(whole.has(each) for each in part)
    if isinstance(whole, tuple) and isinstance(part, SetOf):
        return all(SetOf(whole).has(each) for each in part)
    if isinstance(whole, tuple) and isinstance(part, tuple):
        width = len(part)
        return any(
            equal(whole[start : start + width], part) for start in range(len(whole) - width + 1)
        )
    raise Unfit


def _is_nested(whole: object, part: object) -> bool:
    return (
        isinstance(part, Obj | SetOf | tuple)
        and type(whole) is type(part)
        and bool(_is_subset(whole, part))
    )


# --- paths ---


def _paths(given: object) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for each in members(given):
        if isinstance(each, tuple):
            found.append(each)
        else:
            steps = a_text(each).strip("/").split("/")
            found.append(tuple(step.replace("~1", "/").replace("~0", "~") for step in steps))
    return found


def _steps(value: object) -> Sequence[tuple[object, object]]:
    """Return what is in a collection, by the names that paths use."""
    if isinstance(value, Obj):
        return list(value.items())
    if isinstance(value, tuple):
        return [(str(number), each) for number, each in enumerate(value)]
    return []


def _without(value: object, paths: list[tuple[object, ...]]) -> object:
    found = []
    for name, each in _steps(value):
        below = [path[1:] for path in paths if path and equal(path[0], name)]
        if () not in below:
            found.append((name, _without(each, below) if below else each))
    if isinstance(value, Obj):
        return Obj(found)
    return tuple(each for _, each in found) if isinstance(value, tuple) else value


def _with_only(value: object, paths: list[tuple[object, ...]]) -> object:
    found = []
    for name, each in _steps(value):
        below = [path[1:] for path in paths if path and equal(path[0], name)]
        if below:
            found.append((name, each if () in below else _with_only(each, below)))
    if isinstance(value, Obj):
        return Obj(found)
    return tuple(each for _, each in found) if isinstance(value, tuple) else value


OBJECTS: Table = {
    "array.concat": (2, lambda one, other: an_array(one) + an_array(other)),
    "array.flatten": (1, _flatten),
    "array.reverse": (1, lambda array: an_array(array)[::-1]),
    "array.slice": (3, _slice),
    "intersection": (1, _intersection),
    "union": (1, _union),
    "object.filter": (2, _filter),
    "object.get": (3, _get),
    "object.keys": (1, _keys),
    "object.remove": (2, _remove),
    "object.subset": (2, _is_subset),
    "object.union": (2, _object_union),
    "object.union_n": (1, _union_n),
    "json.filter": (2, lambda value, paths: _with_only(an_object(value), _paths(paths))),
    "json.remove": (2, lambda value, paths: _without(an_object(value), _paths(paths))),
}
