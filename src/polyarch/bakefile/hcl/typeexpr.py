"""Types as they are written: `list(string)`, `object({a = number})`. Source: HCL's extension `typeexpr`."""

from __future__ import annotations

from polyarch.bakefile.hcl.nodes import Call, Expression, Objects, Parens, Tuples, keyword
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.hcl.types import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Type,
    list_of,
    map_of,
    object_of,
    set_of,
    tuple_of,
)
from polyarch.golang.strconv import quote

__all__ = ["read_type"]

_WORDS = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": DYNAMIC}
_COLLECTIONS = {"list": list_of, "set": set_of, "map": map_of}
_INVALID = "Invalid type specification"


def read_type(expression: Expression) -> tuple[Type, bool]:
    """Return the type that is written, and whether it is written as `any`. Raises HclError."""
    if isinstance(expression, Parens):
        return read_type(expression.inner)
    if isinstance(expression, Call):
        return _complex(expression), False
    name = keyword(expression)
    if name in _WORDS:
        return _WORDS[name], name == "any"
    if name in _COLLECTIONS:
        detail = f"The {name} type constructor requires one argument specifying the element type."
    elif name == "object":
        detail = "The object type constructor requires one argument specifying the attribute types and values as a map."
    elif name == "tuple":
        detail = "The tuple type constructor requires one argument specifying the element types as a list."
    elif name:
        detail = f"The keyword {quote(name)} is not a valid type specification."
    else:
        detail = "A type specification is either a primitive type keyword (bool, number, string) or a complex type constructor call, like list(string)."
    raise HclError(_INVALID, detail, expression.at)


def _complex(call: Call) -> Type:
    if call.name in _WORDS:
        detail = f"Primitive type keyword {quote(call.name)} does not expect arguments."
        raise HclError(_INVALID, detail, call.name_at)
    if call.name == "optional":
        detail = 'Keyword "optional" is valid only as a modifier for object type attributes.'
        raise HclError(_INVALID, detail, call.name_at)
    if call.name not in {*_COLLECTIONS, "object", "tuple"}:
        detail = f"Keyword {quote(call.name)} is not a valid type constructor."
        raise HclError(_INVALID, detail, call.at)
    if len(call.arguments) != 1:
        detail = f"The {call.name} type constructor requires one argument."
        raise HclError(_INVALID, detail, call.at)
    argument = call.arguments[0]
    if call.name in _COLLECTIONS:
        return _COLLECTIONS[call.name](read_type(argument)[0])
    if call.name == "tuple":
        if not isinstance(argument, Tuples):
            raise HclError(
                _INVALID,
                "Tuple type constructor requires a list of element types.",
                argument.at,
            )
        return tuple_of([read_type(each)[0] for each in argument.items])
    return _object(argument)


def _object(argument: Expression) -> Type:
    if not isinstance(argument, Objects):
        raise HclError(
            _INVALID,
            "Object type constructor requires a map whose keys are attribute names and whose values are the corresponding attribute types.",
            argument.at,
        )
    fields: dict[str, Type] = {}
    optional: set[str] = set()
    for item in argument.items:
        name = keyword(getattr(item.key, "inner", item.key))
        if not name:
            raise HclError(
                _INVALID,
                "Object constructor map keys must be attribute names.",
                item.key.at,
            )
        value = item.value
        if isinstance(value, Call) and value.name == "optional":
            if len(value.arguments) != 1:
                raise HclError(
                    _INVALID,
                    "Optional attribute modifier expects only one argument: the attribute type.",
                    value.at,
                )
            optional.add(name)
            value = value.arguments[0]
        fields[name] = read_type(value)[0]
    return object_of(fields, frozenset(optional))
