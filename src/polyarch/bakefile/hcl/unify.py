"""The one type that several types can all become, as the branches of a condition and elements of a list must.

Source: behaviour of go-cty's package `convert`, `UnifyUnsafe`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from polyarch.bakefile.hcl.types import (
    DYNAMIC,
    STRING,
    Kind,
    Type,
    list_of,
    map_of,
    object_of,
    tuple_of,
)

__all__ = ["can_become", "unify"]


def can_become(given: Type, wanted: Type, *, unsafe: bool = True) -> bool:
    """Tell whether there is a conversion; an unsafe one may fail for some values."""
    if wanted.kind is Kind.DYNAMIC or given == wanted:
        return True
    if given.kind is Kind.DYNAMIC:
        return unsafe
    if given.is_primitive and wanted.is_primitive:
        return wanted == STRING or (unsafe and given == STRING)
    rule = _RULES.get((given.kind, wanted.kind))
    return rule is not None and rule(given, wanted, unsafe)


def _elementwise(given: Type, wanted: Type, unsafe: bool) -> bool:
    return can_become(given.element, wanted.element, unsafe=unsafe)


def _list_to_set(given: Type, wanted: Type, unsafe: bool) -> bool:
    return unsafe and _elementwise(given, wanted, unsafe)


def _objects(given: Type, wanted: Type, unsafe: bool) -> bool:
    fields = given.fields()
    return all(
        can_become(fields[name], each, unsafe=unsafe) if name in fields else name in wanted.optional
        for name, each in wanted.attributes
    )


def _tuples(given: Type, wanted: Type, unsafe: bool) -> bool:
    return len(given.inner) == len(wanted.inner) and all(
        can_become(one, other, unsafe=unsafe)
        for one, other in zip(given.inner, wanted.inner, strict=True)
    )


def _all_into(parts: Sequence[Type], element: Type, unsafe: bool) -> bool:
    if parts and element.kind is Kind.DYNAMIC:
        found = unify(parts, unsafe=unsafe)
        if found is None or (found.kind is Kind.DYNAMIC and any(p != DYNAMIC for p in parts)):
            return False
        element = found
    return all(can_become(each, element, unsafe=unsafe) for each in parts)


def _tuple_to_collection(given: Type, wanted: Type, unsafe: bool) -> bool:
    return _all_into(given.inner, wanted.element, unsafe)


def _object_to_map(given: Type, wanted: Type, unsafe: bool) -> bool:
    return _all_into([each for _name, each in given.attributes], wanted.element, unsafe)


def _map_to_object(_given: Type, _wanted: Type, unsafe: bool) -> bool:
    return unsafe


_RULES: dict[tuple[Kind, Kind], Callable[[Type, Type, bool], bool]] = {
    (Kind.OBJECT, Kind.OBJECT): _objects,
    (Kind.TUPLE, Kind.TUPLE): _tuples,
    (Kind.LIST, Kind.LIST): _elementwise,
    (Kind.SET, Kind.LIST): _elementwise,
    (Kind.SET, Kind.SET): _elementwise,
    (Kind.MAP, Kind.MAP): _elementwise,
    (Kind.LIST, Kind.SET): _list_to_set,
    (Kind.TUPLE, Kind.LIST): _tuple_to_collection,
    (Kind.TUPLE, Kind.SET): _tuple_to_collection,
    (Kind.OBJECT, Kind.MAP): _object_to_map,
    (Kind.MAP, Kind.OBJECT): _map_to_object,
}


_MIXTURES = (({Kind.MAP, Kind.OBJECT}, Kind.OBJECT), ({Kind.LIST, Kind.TUPLE}, Kind.TUPLE))


def unify(types: Sequence[Type], *, unsafe: bool = True) -> Type | None:
    """Return the type that all can become, None if there is none."""
    if not types:
        return None
    kinds = {each.kind for each in types}
    plain = kinds - {Kind.DYNAMIC}
    if len(plain) == 1 and (kind := next(iter(plain))) in _SAME:
        return DYNAMIC if Kind.DYNAMIC in kinds else _SAME[kind](types, unsafe)
    for mixture, structure in _MIXTURES:
        if plain == mixture and (found := _mixed(types, structure, unsafe)):
            return found
    if {Kind.OBJECT, Kind.TUPLE} <= kinds:
        return None
    return next((each for each in _preferred(types) if _all_become(types, each, unsafe)), None)


def _all_become(types: Iterable[Type], wanted: Type, unsafe: bool) -> bool:
    return all(can_become(each, wanted, unsafe=unsafe) for each in types)


def _mixed(types: Sequence[Type], structure: Kind, unsafe: bool) -> Type | None:
    """Take objects among maps for maps, or tuples among lists for lists."""
    parts = [each for each in types if each.kind is structure]
    whole = _to_map(parts, unsafe) if structure is Kind.OBJECT else _to_list(parts, unsafe)
    if whole is None:
        return None
    found = unify([whole if each.kind is structure else each for each in types], unsafe=unsafe)
    return found if found is not None and found.kind is whole.kind else None


def _collections(types: Sequence[Type], unsafe: bool) -> Type | None:
    element = unify([each.element for each in types], unsafe=unsafe)
    if element is None:
        return None
    wanted = types[0]._replace(inner=(element,))
    return wanted if _all_become(types, wanted, unsafe) else None


def _objects_of(types: Sequence[Type], unsafe: bool) -> Type | None:
    names = [name for name, _each in types[0].attributes]
    if any([name for name, _each in each.attributes] != names for each in types):
        return _to_map(types, unsafe)
    fields: dict[str, Type] = {}
    for name in names:
        found = unify([each.fields()[name] for each in types], unsafe=unsafe)
        if found is None:
            return None
        fields[name] = found
    wanted = object_of(fields)
    fits = all(can_become(each, wanted, unsafe=unsafe) for each in types)
    return wanted if fits else _to_map(types, unsafe)


def _tuples_of(types: Sequence[Type], unsafe: bool) -> Type | None:
    if any(len(each.inner) != len(types[0].inner) for each in types):
        return _to_list(types, unsafe)
    parts: list[Type] = []
    for column in zip(*(each.inner for each in types), strict=True):
        found = unify(column, unsafe=unsafe)
        if found is None:
            return None
        parts.append(found)
    wanted = tuple_of(parts)
    fits = all(can_become(each, wanted, unsafe=unsafe) for each in types)
    return wanted if fits else _to_list(types, unsafe)


def _to_map(types: Sequence[Type], unsafe: bool) -> Type | None:
    element = unify([each for one in types for _name, each in one.attributes], unsafe=unsafe)
    wanted = None if element is None else map_of(element)
    fits = wanted and all(can_become(each, wanted, unsafe=unsafe) for each in types)
    return wanted if fits else None


def _to_list(types: Sequence[Type], unsafe: bool) -> Type | None:
    element = unify([each for one in types for each in one.inner], unsafe=unsafe)
    wanted = None if element is None else list_of(element)
    fits = wanted and all(can_become(each, wanted, unsafe=unsafe) for each in types)
    return wanted if fits else None


_SAME: dict[Kind, Callable[[Sequence[Type], bool], Type | None]] = {
    Kind.LIST: _collections,
    Kind.SET: _collections,
    Kind.MAP: _collections,
    Kind.OBJECT: _objects_of,
    Kind.TUPLE: _tuples_of,
}


def _preferred(types: Sequence[Type]) -> list[Type]:
    """Put the more general types first: texts before numbers, and what may be anything last."""

    def rank(each: Type) -> int:
        if each.kind is Kind.DYNAMIC:
            return 2
        return 0 if each == STRING or not each.is_primitive else 1

    return sorted(types, key=rank)
