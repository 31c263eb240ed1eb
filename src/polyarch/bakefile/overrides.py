"""`--set`: changes of targets from the command line. Source: documentation and behaviour of buildx.

Three keys do what buildx documents rather than what it does, which is to empty them: `network`, `ulimits` and
`no-cache-filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from polyarch.bakefile.entries import (
    Attest,
    CacheEntry,
    Export,
    Secret,
    Ssh,
    by_key,
    parse_attest,
    parse_caches,
    parse_export,
    parse_secret,
    parse_ssh,
    unique,
)
from polyarch.bakefile.target import Target
from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, quote
from polyarch.record import frozen, replace
from polyarch.request.policies import Policy, parse_policy
from polyarch.text.nearest import suggestion

__all__ = ["Override", "apply", "read_overrides"]


_Entry = TypeVar("_Entry")


@frozen
class Override:
    """What a key is set to: all values that were given, and whether they are added to the file's."""

    values: tuple[str, ...] = ()
    appends: bool = False

    @property
    def value(self) -> str:
        """The last value."""
        return self.values[-1] if self.values else ""

    def listed(self) -> tuple[str, ...]:
        """Return the values that aren't empty."""
        return tuple(each for each in self.values if each)


_LISTS = frozenset(
    {
        "annotations", "attest", "cache-from", "cache-to", "entitlements", "no-cache-filter", "output",
        "platform", "policy", "secrets", "ssh", "tags", "ulimits",
    }
)  # fmt: skip
_MAPPED = {"args": "args", "labels": "labels", "contexts": "contexts", "extra-hosts": "extra_hosts"}
_TEXTS = {
    "context": "context",
    "dockerfile": "dockerfile",
    "target": "target",
    "call": "call",
    "shm-size": "shm_size",
    "network": "network",
}
_SWITCHES = ("no-cache", "pull", "push", "load")
_PLAIN_LISTS = {
    "tags": "tags",
    "platform": "platforms",
    "no-cache-filter": "no_cache_filter",
    "ulimits": "ulimits",
}
_ATTRIBUTES = {"platform": "platforms", "secrets": "secret", "push": "output", "load": "output"}
"""What attributes are called that keys have other names for."""
_ALL_KEYS = (*_LISTS, *_MAPPED, *_TEXTS, *_SWITCHES, "secret", "resources")
_LIMITS = frozenset({"memory", "memory-swap", "cpuset-cpus", "cpuset-mems"})
_COUNTS = frozenset({"cpu-shares", "cpu-period", "cpu-quota"})


def read_overrides(
    values: Sequence[str],
    expand: Callable[[str], Sequence[str]],
    environ: Mapping[str, str],
) -> dict[str, dict[str, Override]]:
    """Return changes by target and key. `expand` returns the targets that a pattern fits. Raises InputError."""
    found: dict[str, dict[str, Override]] = {}
    for value in values:
        key, equals, setting = value.partition("=")
        plain = key.removesuffix("+")
        pattern, dot, rest = plain.partition(".")
        if not dot:
            raise InputError(f"invalid override key {plain}, expected target.name")
        name, _dot, sub = rest.partition(".")
        if not equals and name != "args":
            raise InputError(f"invalid override {value}, expected target.name=value")
        for target in expand(pattern):
            changes = found.setdefault(target, {})
            _check_key(key, name, sub, appends=key != plain)
            if not equals:
                if sub in environ:
                    changes[rest] = Override(values=(environ[sub],))
                continue
            before = changes.get(rest, Override()).values if name in _LISTS else ()
            changes[rest] = Override(values=(*before, setting), appends=key != plain)
    return found


def _check_key(key: str, name: str, sub: str, *, appends: bool) -> None:
    if name in {"args", "contexts"} and not sub:
        raise InputError(f"invalid key {key}, {name} requires name")
    if name in {"resources", "secret"}:
        if not sub:
            raise InputError(f"invalid key {key}, {name} requires name")
        if appends:
            raise InputError(f"invalid key {key}, {name} does not support append")


def apply(target: Target, changes: Mapping[str, Override]) -> Target:
    """Return a target with changes. Raises InputError."""
    late: list[tuple[str, str]] = []
    for key, override in changes.items():
        name, _dot, sub = key.partition(".")
        if name == "secret":
            late.append((sub, override.value))
        else:
            target = _with_change(target, name, sub, override)
    for identifier, value in late:
        target = _with_secret(target, identifier, value)
    changed = {_ATTRIBUTES.get(name, name) for name in (key.partition(".")[0] for key in changes)}
    places = {name: at for name, at in target.places.items() if name not in changed}
    return replace(target, places=places) if changes else target


def _with_change(target: Target, name: str, sub: str, override: Override) -> Target:
    """Return a target with one change: of the attribute `name`, or of the entry `sub` in it. Raises InputError."""
    if name in _MAPPED:
        return _with_entry(target, name, sub, override.value)
    if name in _TEXTS:
        return replace(target, **{_TEXTS[name]: override.value})
    if name in _PLAIN_LISTS:
        field = _PLAIN_LISTS[name]
        before = (getattr(target, field) or ()) if override.appends else ()
        return replace(target, **{field: (*before, *override.values)})
    if name in _SWITCHES:
        return _with_switch(target, name, override.value)
    if name == "resources":
        return _with_limit(target, sub, override.value)
    if name in _LISTS:
        return _with_entries(target, name, override)
    raise InputError(f"unknown key: {name}{suggestion(name, _ALL_KEYS)}")


def _with_entry(target: Target, name: str, sub: str, value: str) -> Target:
    if not sub:
        what = "<hostname>=<ip>" if name == "extra-hosts" else "<name>=<value>"
        raise InputError(f"invalid format for {name}, expecting {name}.{what}")
    field = _MAPPED[name]
    return replace(target, **{field: {**(getattr(target, field) or {}), sub: value}})


def _with_switch(target: Target, name: str, value: str) -> Target:
    switch = find_bool(value)
    if switch is None:
        raise InputError(f"invalid value {value} for boolean key {name}")
    if name == "push":
        return replace(target, output=_pushed(target.output or (), push=switch))
    if name == "load":
        outputs = target.output or ()
        return replace(target, output=_loaded(outputs)) if switch else target
    return replace(target, **{"no_cache" if name == "no-cache" else "pull": switch})


def _pushed(outputs: Sequence[Export], *, push: bool) -> tuple[Export, ...]:
    def marked(each: Export) -> Export:
        if each.type != "image":
            return each
        return replace(each, attributes={**each.attributes, "push": "true" if push else "false"})

    if not push:
        return tuple(marked(each) for each in outputs if each.type != "registry")
    if all(each.type == "docker" for each in outputs):
        return (*outputs, Export(type="image", attributes={"push": "true"}))
    return tuple(map(marked, outputs))


def _loaded(outputs: Sequence[Export]) -> tuple[Export, ...]:
    for each in outputs:
        if each.type == "docker" and not each.destination:
            return tuple(outputs)
        if each.type not in {"docker", "image", "registry", "oci"}:
            return tuple(outputs)
    return (*outputs, Export(type="docker", attributes={}))


def _with_limit(target: Target, name: str, value: str) -> Target:
    limit: str | int = value
    if name in _COUNTS:
        try:
            limit = int(value)
        except ValueError:
            raise InputError(f"invalid value {value} for int64 key resources.{name}") from None
    elif name not in _LIMITS:
        raise InputError(f"unknown resources key {name}{suggestion(name, _LIMITS | _COUNTS)}")
    return replace(target, resources={**(target.resources or {}), name: limit})


def _with_entries(target: Target, name: str, override: Override) -> Target:
    if name in _ENTRIES:
        field, entries = _ENTRIES[name]
        return replace(target, **{field: entries(target, override)})
    return replace(target, **{name: (*(getattr(target, name) or ()), *override.values)})


def _caches(before: tuple[CacheEntry, ...] | None, override: Override) -> tuple[CacheEntry, ...]:
    caches = tuple(cache for each in override.listed() for cache in parse_caches(each))
    kept = _kept(before, override)
    return unique((*kept, *caches)) if kept else caches


def _outputs(target: Target, override: Override) -> tuple[Export, ...]:
    outputs = tuple(map(parse_export, override.listed()))
    kept = _kept(target.output, override)
    return unique((*kept, *outputs)) if kept else outputs


def _secrets(target: Target, override: Override) -> tuple[Secret, ...]:
    kept = _kept(target.secret, override)
    return by_key((*kept, *map(parse_secret, override.listed())), lambda each: each.id)


def _agents(target: Target, override: Override) -> tuple[Ssh, ...]:
    kept = _kept(target.ssh, override)
    return by_key((*kept, *map(parse_ssh, override.listed())), lambda each: each.id)


def _attests(target: Target, override: Override) -> tuple[Attest, ...]:
    attests = (*(target.attest or ()), *map(parse_attest, override.listed()))
    return by_key(attests, lambda each: each.type)


def _policies(target: Target, override: Override) -> tuple[Policy, ...]:
    return (*_kept(target.policy, override), *map(parse_policy, override.values))


def _kept(entries: tuple[_Entry, ...] | None, override: Override) -> tuple[_Entry, ...]:
    """Return what stays of what the file has."""
    return (entries or ()) if override.appends else ()


_ENTRIES: Mapping[str, tuple[str, Callable[[Target, Override], object]]] = {
    "cache-from": ("cache_from", lambda target, override: _caches(target.cache_from, override)),
    "cache-to": ("cache_to", lambda target, override: _caches(target.cache_to, override)),
    "output": ("output", _outputs),
    "secrets": ("secret", _secrets),
    "ssh": ("ssh", _agents),
    "attest": ("attest", _attests),
    "policy": ("policy", _policies),
}
"""The fields that hold more than texts, and what becomes of them."""


def _with_secret(target: Target, identifier: str, value: str) -> Target:
    given = parse_secret(value)
    if given.id and given.id != identifier:
        raise InputError(
            f"secret override id {quote(given.id)} does not match declared secret {quote(identifier)}"
        )
    secrets = list(target.secret or ())
    for index, each in enumerate(secrets):
        if each.id == identifier:
            secrets[index] = replace(each, path=given.path, env=given.env)
            return replace(target, secret=tuple(secrets))
    raise InputError(f"secret {quote(identifier)} must be declared before it can be overridden")
