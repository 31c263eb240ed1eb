"""Functions of lists, tuples, maps and objects. Source: behaviour of go-cty's `function/stdlib`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.bakefile.hcl.convert import ConversionError, convert
from polyarch.bakefile.hcl.functions.ints import as_int
from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.operators import add, less
from polyarch.bakefile.hcl.types import DYNAMIC, NUMBER, STRING, Kind, Type, list_of
from polyarch.bakefile.hcl.unify import unify
from polyarch.bakefile.hcl.values import (
    FALSE,
    TRUE,
    Value,
    elements,
    equals,
    integer,
    list_value,
    map_value,
    object_value,
    string,
    tuple_value,
)
from polyarch.golang.strconv import quote

__all__ = ["COLLECTIONS"]

_INDEXED = frozenset({Kind.TUPLE, Kind.LIST, Kind.MAP})
_SEQUENCES = frozenset({Kind.TUPLE, Kind.LIST, Kind.SET})
_MOST_GENERATED = 1024


def _check_indexed(collection: Value) -> None:
    if collection.type.kind not in _INDEXED:
        raise FunctionError("collection must be a list, a map or a tuple")


def _has_index(collection: Value, key: Value) -> Value:
    _check_indexed(collection)
    if collection.type.kind is Kind.MAP:
        found = key.type == STRING and key.raw in collection.raw
    else:
        found = (
            key.type == NUMBER and key.raw.is_integer and 0 <= key.raw.value < len(collection.raw)
        )
    return TRUE if found else FALSE


def _index(collection: Value, key: Value) -> Value:
    _check_indexed(collection)
    kind = collection.type.kind
    wanted = STRING if kind is Kind.MAP else NUMBER
    if key.type not in {wanted, DYNAMIC}:
        raise FunctionError(f"key for {kind} must be {wanted.kind}")
    if not _has_index(collection, key).raw:
        if kind is Kind.TUPLE:
            count = len(collection.raw)
            raise FunctionError(f"key must be between 0 and {count} inclusive")
        raise FunctionError("invalid index")
    found: Value = collection.raw[key.raw if kind is Kind.MAP else int(key.raw.value)]
    return found


def _length(collection: Value) -> Value:
    if collection.type.kind not in {*_INDEXED, Kind.SET}:
        raise FunctionError("collection must be a list, a map or a tuple")
    return integer(len(collection.raw))


def _element(items: Value, index: Value) -> Value:
    if items.type.kind not in {Kind.LIST, Kind.TUPLE}:
        raise FunctionError(f"cannot read elements from {items.type.friendly()}")
    try:
        number = as_int(index)
    except FunctionError as error:
        raise FunctionError(f"invalid index: {error}") from None
    if not items.raw:
        raise FunctionError("cannot use element function with an empty list")
    found: Value = items.raw[number % len(items.raw)]
    return found


def _coalesce(*values: Value) -> Value:
    wanted = unify([each.type for each in values])
    if wanted is None:
        raise FunctionError("all arguments must have the same type")
    for each in values:
        if not each.is_null:
            return convert(each, wanted)
    raise FunctionError("no non-null arguments")


def _coalesce_list(*values: Value) -> Value:
    if not values:
        raise FunctionError("at least one argument is required")
    if any(each.type.kind not in {Kind.LIST, Kind.TUPLE} for each in values):
        raise FunctionError("coalescelist arguments must be lists or tuples")
    for each in values:
        if each.raw:
            return each
    raise FunctionError("no non-null arguments")


def _compact(items: Value) -> Value:
    return list_value([each for each in items.raw if each.raw], STRING)


def _contains(items: Value, value: Value) -> Value:
    if items.type.kind not in _SEQUENCES:
        raise FunctionError("argument must be list, tuple, or set")
    return TRUE if any(equals(value, each) for each in items.raw) else FALSE


def _distinct(items: Value) -> Value:
    kept: list[Value] = []
    for each in items.raw:
        if not any(equals(each, other) for other in kept):
            kept.append(each)
    return list_value(kept, items.type.element)


def _chunklist(items: Value, size: Value) -> Value:
    try:
        count = as_int(size)
    except FunctionError as error:
        raise FunctionError(f"invalid size: {error}") from None
    if count < 0:
        raise FunctionError("the size argument must be positive")
    values = items.raw
    if not values:
        return list_value([], items.type)
    count = count or len(values)
    chunks = [values[start : start + count] for start in range(0, len(values), count)]
    return list_value([list_value(each, DYNAMIC) for each in chunks], DYNAMIC)


def _flatten(items: Value) -> Value:
    if items.type.kind not in _SEQUENCES:
        raise FunctionError("can only flatten lists, sets and tuples")
    return tuple_value(_flat(items))


def _flat(items: Value) -> list[Value]:
    found: list[Value] = []
    for each in items.raw:
        if not each.is_null and each.type.kind in _SEQUENCES:
            found += _flat(each)
        else:
            found.append(each)
    return found


def _keys(items: Value) -> Value:
    if items.type.kind not in {Kind.MAP, Kind.OBJECT}:
        raise ArgumentError(0, "must have map or object type")
    names = [string(name) for name in items.raw]
    return list_value(names, STRING) if items.type.kind is Kind.MAP else tuple_value(names)


def _values(items: Value) -> Value:
    if items.type.kind not in {Kind.MAP, Kind.OBJECT}:
        raise FunctionError("values() requires a map as the first argument")
    found = list(items.raw.values())
    if items.type.kind is Kind.MAP:
        return list_value(found, items.type.element)
    return tuple_value(found)


def _lookup(items: Value, key: Value, default: Value) -> Value:
    if items.type.kind not in {Kind.MAP, Kind.OBJECT}:
        raise ArgumentError(0, "lookup() requires a map as the first argument")
    if key.raw in items.raw:
        found: Value = items.raw[key.raw]
        return found
    if items.type.kind is Kind.MAP:
        try:
            return convert(default, items.type.element)
        except ConversionError:
            raise ArgumentError(
                2,
                "the default value must have the same type as the map elements",
            ) from None
    return default


def _merge(*values: Value) -> Value:
    if not values:
        return object_value({})
    for index, each in enumerate(values):
        if each.type.kind not in {Kind.MAP, Kind.OBJECT} and each.type != DYNAMIC:
            message = f"arguments must be maps or objects, got {quote(each.type.friendly())}"
            raise ArgumentError(index, message)
    merged: dict[str, Value] = {}
    for each in values:
        merged |= each.raw or {}
    kinds = {each.type for each in values}
    if len(kinds) == 1 and values[0].type.kind is Kind.MAP:
        return map_value(merged, values[0].type.element)
    return object_value(merged)


def _reverse_list(items: Value) -> Value:
    kind = items.type.kind
    if kind not in _SEQUENCES:
        raise ArgumentError(
            0, f"can only reverse list or tuple values, not {items.type.friendly()}"
        )
    found = list(reversed(items.raw))
    return tuple_value(found) if kind is Kind.TUPLE else list_value(found, items.type.element)


def _slice(items: Value, start: Value, end: Value) -> Value:
    if items.type.kind is Kind.SET:
        raise ArgumentError(
            0,
            "cannot slice a set, because its elements do not have indices; explicitly convert to a list if the ordering of the result is not important",
        )
    if items.type.kind not in {Kind.LIST, Kind.TUPLE}:
        raise ArgumentError(0, "must be a list or tuple value")
    first, last = _slice_index(items, start, 1, "start"), _slice_index(items, end, 2, "end")
    if first > last:
        raise ArgumentError(1, "start index must not be greater than end index")
    found = items.raw[first:last]
    if items.type.kind is Kind.LIST:
        return list_value(found, items.type.element)
    return tuple_value(found)


def _slice_index(items: Value, value: Value, position: int, word: str) -> int:
    try:
        index = as_int(value)
    except FunctionError as error:
        raise ArgumentError(position, f"invalid {word} index: {error}") from None
    if index < 0:
        raise ArgumentError(position, f"{word} index must not be less than zero")
    if index > len(items.raw):
        message = f"{word} index must not be greater than the length of the list"
        raise ArgumentError(position, message)
    return index


def _zipmap(keys: Value, values: Value) -> Value:
    if values.type.kind not in {Kind.LIST, Kind.TUPLE}:
        raise FunctionError("values argument must be a list or tuple value")
    if len(keys.raw) != len(values.raw):
        raise FunctionError(
            f"number of keys ({len(keys.raw)}) does not match number of values ({len(values.raw)})"
        )
    found: dict[str, Value] = {}
    for index, (key, value) in enumerate(zip(keys.raw, values.raw, strict=True)):
        if key.is_null:
            raise FunctionError(f"keys list has null value at index {index}")
        found[key.raw] = value
    if values.type.kind is Kind.LIST:
        return map_value(found, values.type.element)
    return object_value(found)


def _concat(*values: Value) -> Value:
    if not values:
        raise FunctionError("at least one argument is required")
    if all(each.type.kind is Kind.LIST for each in values):
        wanted = unify([each.type for each in values])
        if wanted is not None:
            found = [item for each in values for item in convert(each, wanted).raw]
            return list_value(found, wanted.element)
    for index, each in enumerate(values):
        if each.type.kind not in {Kind.LIST, Kind.TUPLE}:
            message = f"all arguments must be lists or tuples; got {each.type.friendly()}"
            raise ArgumentError(index, message)
    return tuple_value([item for each in values for item in each.raw])


def _range(*values: Value) -> Value:
    start, end, step = _range_of(values)
    down = step.raw.key() < (0, 0)
    if not step.raw.value and not step.raw.infinite:
        raise ArgumentError(2, "step must not be zero")
    if down and less(start, end).raw:
        raise ArgumentError(1, "end must be less than start when step is negative")
    if not down and less(end, start).raw:
        raise ArgumentError(1, "end must be greater than start when step is positive")
    found: list[Value] = []
    current = start
    while less(end, current).raw if down else less(current, end).raw:
        if len(found) >= _MOST_GENERATED:
            raise FunctionError(
                f"more than {_MOST_GENERATED} values were generated; either decrease the difference between start and end or use a smaller step"
            )
        found.append(current)
        current = add(current, step)
    return list_value(found, NUMBER)


def _range_of(values: Sequence[Value]) -> tuple[Value, Value, Value]:
    zero = integer(0)
    if len(values) == 1:
        values = (zero, values[0])
    if len(values) == 2:
        step = integer(-1 if less(values[1], values[0]).raw else 1)
        return values[0], values[1], step
    if len(values) != 3:
        raise FunctionError("must have one, two, or three arguments")
    return values[0], values[1], values[2]


def _index_of(items: Value, value: Value) -> Value:
    if items.type.kind not in {Kind.LIST, Kind.TUPLE}:
        raise FunctionError("argument must be a list or tuple")
    if not items.raw:
        raise FunctionError("cannot search an empty list")
    for key, each in elements(items):
        if equals(each, value):
            return key
    raise FunctionError("item not found")


_ANY_LIST = list_of(DYNAMIC)
_TEXTS: Type = list_of(STRING)
_FREE = Parameter("vals", nullable=True)

COLLECTIONS: Mapping[str, Function] = {
    "chunklist": function(_chunklist, Parameter("list", _ANY_LIST), Parameter("size", NUMBER)),
    "coalesce": function(_coalesce, rest=_FREE),
    "coalescelist": function(_coalesce_list, rest=_FREE),
    "compact": function(_compact, Parameter("list", _TEXTS)),
    "concat": function(_concat, rest=Parameter("seqs")),
    "contains": function(_contains, Parameter("list"), Parameter("value")),
    "distinct": function(_distinct, Parameter("list", _ANY_LIST)),
    "element": function(_element, Parameter("list"), Parameter("index", NUMBER)),
    "flatten": function(_flatten, Parameter("list")),
    "hasindex": function(_has_index, Parameter("collection"), Parameter("key")),
    "index": function(_index, Parameter("collection"), Parameter("key")),
    "indexof": function(_index_of, Parameter("list"), Parameter("value")),
    "keys": function(_keys, Parameter("inputMap")),
    "length": function(_length, Parameter("collection")),
    "lookup": function(_lookup, Parameter("inputMap"), Parameter("key", STRING), Parameter("default")),
    "merge": function(_merge, rest=Parameter("maps", nullable=True)),
    "range": function(_range, rest=Parameter("params", NUMBER)),
    "reverselist": function(_reverse_list, Parameter("list")),
    "slice": function(_slice, Parameter("list"), Parameter("start_index", NUMBER), Parameter("end_index", NUMBER)),
    "values": function(_values, Parameter("mapping")),
    "zipmap": function(_zipmap, Parameter("keys", _TEXTS), Parameter("values")),
}  # fmt: skip
