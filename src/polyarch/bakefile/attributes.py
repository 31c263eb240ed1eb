"""Attributes of targets: values of HCL -> what a `Target` holds, and back, for `target.NAME.ATTRIBUTE`.

Source: behaviour of buildx's `gohcl` and `buildflags`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from polyarch.bakefile.entries import (
    Attest,
    CacheEntry,
    Export,
    Secret,
    Ssh,
    parse_attest,
    parse_caches,
    parse_export,
    parse_secret,
    parse_ssh,
)
from polyarch.bakefile.hcl.convert import ConversionError, convert, mismatch
from polyarch.bakefile.hcl.numbers import from_int
from polyarch.bakefile.hcl.types import BOOL, NUMBER, STRING, Kind, Type, list_of, map_of, object_of
from polyarch.bakefile.hcl.values import (
    FALSE,
    TRUE,
    Value,
    json_text,
    list_value,
    map_value,
    null_of,
    number,
    object_value,
    string,
)
from polyarch.bakefile.target import Target
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_bool, quote
from polyarch.request.policies import Policy, parse_policy, policy_of

__all__ = [
    "GROUP_ATTRIBUTES",
    "TARGET_ATTRIBUTES",
    "AttributeRule",
    "read_attribute",
    "target_value",
]

T = TypeVar("T")
_TEXT_LIST = list_of(STRING)
_TEXT_MAP = map_of(STRING)
_NULL = "null value is not allowed"
_SECRET_TYPE = object_of(
    {"id": STRING, "src": STRING, "env": STRING}, frozenset({"id", "src", "env"})
)
_SSH_TYPE = object_of({"id": STRING, "paths": _TEXT_LIST}, frozenset({"id", "paths"}))
_LIMITS: Mapping[str, Type] = {
    "memory": STRING,
    "memory-swap": STRING,
    "cpu-shares": NUMBER,
    "cpu-period": NUMBER,
    "cpu-quota": NUMBER,
    "cpuset-cpus": STRING,
    "cpuset-mems": STRING,
}
_LIMITS_TYPE = object_of(_LIMITS, frozenset(_LIMITS))


def _text(value: Value) -> str | None:
    found: str | None = convert(value, STRING).raw
    return found


def _plain_text(value: Value) -> str:
    found = convert(value, STRING)
    if found.is_null:
        raise ConversionError("string is required")
    return str(found.raw)


def _switch(value: Value) -> bool | None:
    found: bool | None = convert(value, BOOL).raw
    return found


def _text_list(value: Value) -> tuple[str, ...] | None:
    found = convert(value, _TEXT_LIST)
    if found.is_null:
        return None
    if any(each.is_null for each in found.raw):
        raise ConversionError(_NULL)
    return tuple(each.raw for each in found.raw)


def _text_map(value: Value) -> Mapping[str, str | None] | None:
    found = convert(value, _TEXT_MAP)
    if found.is_null:
        return None
    return {name: each.raw for name, each in found.raw.items()}


def _full_map(value: Value) -> Mapping[str, str] | None:
    found = _text_map(value)
    if found is None:
        return None
    full = {name: each for name, each in found.items() if each is not None}
    if len(full) < len(found):
        raise ConversionError(_NULL)
    return full


def _entries(
    value: Value,
    element: Type,
    text: Callable[[str], Sequence[T]],
    structure: Callable[[Value], T],
) -> tuple[T, ...]:
    """Read a list whose elements are texts or objects."""
    if value.is_null:
        raise ConversionError(_NULL)
    if value.type.kind not in {Kind.LIST, Kind.TUPLE}:
        raise ConversionError(mismatch(value.type, list_of(element)))
    found: list[T] = []
    for each in value.raw:
        if each.type == STRING:
            if each.raw:
                found += text(each.raw)
        elif each.is_null:
            continue
        else:
            found.append(structure(each))
    return tuple(found)


def _fields(value: Value) -> dict[str, str]:
    found = convert(value, _TEXT_MAP)
    if any(each.is_null for each in found.raw.values()):
        raise ConversionError("string is required")
    return {name: each.raw for name, each in found.raw.items()}


def _cache(value: Value) -> CacheEntry:
    fields = _fields(value)
    kind = fields.pop("type", "")
    if not kind:
        raise ConversionError(f"type required for {quote(json_text(value))}")
    return CacheEntry(type=kind, attributes=fields)


def _export(value: Value) -> Export:
    fields = _fields(value)
    kind = fields.pop("type", "")
    destination = fields.pop("dest", "")
    if not kind:
        raise ConversionError("type is required for output")
    return Export(type=kind, attributes=fields, destination=destination)


def _attest(value: Value) -> Attest:
    fields = _fields(value)
    kind = fields.pop("type", "")
    disabled = parse_bool(fields.pop("disabled", "false"))
    return Attest(type=kind, disabled=disabled, attributes=fields)


def _secret(value: Value) -> Secret:
    fields = convert(value, _SECRET_TYPE).raw
    return Secret(
        id=fields["id"].raw or "", path=fields["src"].raw or "", env=fields["env"].raw or ""
    )


def _ssh(value: Value) -> Ssh:
    fields = convert(value, _SSH_TYPE).raw
    paths = fields["paths"].raw or ()
    return Ssh(id=fields["id"].raw or "", paths=tuple(each.raw for each in paths))


def _policy(value: Value) -> Policy:
    if value.type.kind not in {Kind.OBJECT, Kind.MAP}:
        raise ConversionError(mismatch(value.type, _TEXT_MAP))
    fields: list[str] = []
    for name, each in value.raw.items():
        if each.is_null or each.raw == "":
            continue
        if not each.type.is_primitive:
            raise ConversionError(mismatch(each.type, STRING))
        fields.append(f"{name}={convert(each, STRING).raw}")
    return policy_of(fields)


def _resources(value: Value) -> Mapping[str, str | int]:
    found = convert(value, _LIMITS_TYPE)
    if found.is_null:
        raise ConversionError(_NULL)
    limits: dict[str, str | int] = {}
    for name, each in found.raw.items():
        if each.is_null:
            continue
        if each.type == NUMBER:
            if not each.raw.is_integer:
                raise ConversionError("value must be a whole number")
            limits[name] = int(each.raw.value)
        else:
            limits[name] = each.raw
    return limits


class AttributeRule(NamedTuple):
    """Where a target holds an attribute, and how a value is read."""

    field: str
    read: Callable[[Value], object]


def _caches(value: Value) -> tuple[CacheEntry, ...]:
    return _entries(value, _TEXT_MAP, parse_caches, _cache)


def _exports(value: Value) -> tuple[Export, ...]:
    return _entries(value, _TEXT_MAP, lambda text: [parse_export(text)], _export)


def _attests(value: Value) -> tuple[Attest, ...]:
    return _entries(value, _TEXT_MAP, lambda text: [parse_attest(text)], _attest)


def _secrets(value: Value) -> tuple[Secret, ...]:
    return _entries(value, _SECRET_TYPE, lambda text: [parse_secret(text)], _secret)


def _keys(value: Value) -> tuple[Ssh, ...]:
    return _entries(value, _SSH_TYPE, lambda text: [parse_ssh(text)], _ssh)


def _policies(value: Value) -> tuple[Policy, ...]:
    if value.type.kind in {Kind.LIST, Kind.TUPLE} and any(each.is_null for each in value.raw or ()):
        raise ConversionError("map of string required")
    return _entries(value, _TEXT_MAP, lambda text: [parse_policy(text)], _policy)


TARGET_ATTRIBUTES: Mapping[str, AttributeRule] = {
    "description": AttributeRule("description", _plain_text),
    "inherits": AttributeRule("inherits", _text_list),
    "annotations": AttributeRule("annotations", _text_list),
    "attest": AttributeRule("attest", _attests),
    "context": AttributeRule("context", _text),
    "contexts": AttributeRule("contexts", _full_map),
    "dockerfile": AttributeRule("dockerfile", _text),
    "dockerfile-inline": AttributeRule("dockerfile_inline", _text),
    "args": AttributeRule("args", _text_map),
    "labels": AttributeRule("labels", _text_map),
    "tags": AttributeRule("tags", _text_list),
    "cache-from": AttributeRule("cache_from", _caches),
    "cache-to": AttributeRule("cache_to", _caches),
    "target": AttributeRule("target", _text),
    "secret": AttributeRule("secret", _secrets),
    "ssh": AttributeRule("ssh", _keys),
    "platforms": AttributeRule("platforms", _text_list),
    "output": AttributeRule("output", _exports),
    "pull": AttributeRule("pull", _switch),
    "no-cache": AttributeRule("no_cache", _switch),
    "network": AttributeRule("network", _text),
    "no-cache-filter": AttributeRule("no_cache_filter", _text_list),
    "shm-size": AttributeRule("shm_size", _text),
    "ulimits": AttributeRule("ulimits", _text_list),
    "resources": AttributeRule("resources", _resources),
    "call": AttributeRule("call", _text),
    "entitlements": AttributeRule("entitlements", _text_list),
    "extra-hosts": AttributeRule("extra_hosts", _text_map),
    "policy": AttributeRule("policy", _policies),
}

GROUP_ATTRIBUTES: Mapping[str, AttributeRule] = {
    "description": AttributeRule("description", _plain_text),
    "targets": AttributeRule("targets", _text_list),
}


def read_attribute(attribute: AttributeRule, value: Value) -> object:
    """Return what a target holds of `value`. Raises ConversionError."""
    try:
        return attribute.read(value)
    except InputError as error:
        raise ConversionError(str(error)) from None


# --- back to values ---


def _texts_value(items: Sequence[str] | None) -> Value:
    if items is None:
        return null_of(_TEXT_LIST)
    return list_value([string(each) for each in items], STRING)


def _map_value(items: Mapping[str, str | None] | None) -> Value:
    if items is None:
        return null_of(_TEXT_MAP)
    return map_value({name: _text_value(each) for name, each in items.items()}, STRING)


def _text_value(text: str | None) -> Value:
    return null_of(STRING) if text is None else string(text)


def _bool_value(switch: bool | None) -> Value:
    return null_of(BOOL) if switch is None else (TRUE if switch else FALSE)


def _maps_value(items: Sequence[Mapping[str, str]]) -> Value:
    return list_value([_map_value(each) for each in items], _TEXT_MAP)


def _entries_value(target: Target) -> dict[str, Value]:
    def typed(each: CacheEntry | Export | Attest) -> dict[str, str]:
        fields = {**each.attributes, "type": each.type}
        if isinstance(each, Export):
            fields["dest"] = each.destination
        if isinstance(each, Attest) and each.disabled:
            fields["disabled"] = "true"
        return fields

    secrets = [
        object_value({"id": string(s.id), "src": string(s.path), "env": string(s.env)})
        for s in target.secret or ()
    ]
    agents = [
        object_value({"id": string(s.id), "paths": _texts_value(s.paths)}) for s in target.ssh or ()
    ]
    return {
        "attest": _maps_value([typed(each) for each in target.attest or ()]),
        "cache-from": _maps_value([typed(each) for each in target.cache_from or ()]),
        "cache-to": _maps_value([typed(each) for each in target.cache_to or ()]),
        "output": _maps_value([typed(each) for each in target.output or ()]),
        "secret": list_value(secrets, _SECRET_TYPE._replace(optional=frozenset())),
        "ssh": list_value(agents, _SSH_TYPE._replace(optional=frozenset())),
    }


def _limits_value(limits: Mapping[str, str | int] | None) -> Value:
    if limits is None:
        return null_of(_LIMITS_TYPE._replace(optional=frozenset()))
    found: dict[str, Value] = {}
    for name, kind in _LIMITS.items():
        limit = limits.get(name)
        if limit is None:
            found[name] = null_of(kind)
        else:
            found[name] = number(from_int(limit)) if isinstance(limit, int) else string(limit)
    return object_value(found)


def target_value(target: Target) -> Value:
    """Return a target as an object, as other blocks refer to it."""
    found: dict[str, Value] = {
        "name": string(target.name),
        "description": string(target.description),
    }
    for name, attribute in TARGET_ATTRIBUTES.items():
        held = getattr(target, attribute.field)
        if attribute.read is _text_list:
            found[name] = _texts_value(held)
        elif attribute.read in {_text_map, _full_map}:
            found[name] = _map_value(held)
        elif attribute.read is _text:
            found[name] = _text_value(held)
        elif attribute.read is _switch:
            found[name] = _bool_value(held)
    found.update(_entries_value(target))
    found["resources"] = _limits_value(target.resources)
    found["policy"] = _maps_value([])
    return object_value(found)
