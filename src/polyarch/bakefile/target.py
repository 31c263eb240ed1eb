"""Targets and groups as values: what is written of them, how two are merged, and how they are printed.

None is what isn't written. Source: documentation of bake files, and behaviour of buildx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from polyarch.bakefile.entries import (
    Attest,
    CacheEntry,
    Export,
    Secret,
    Ssh,
    by_key,
    unique,
)
from polyarch.bakefile.hcl.place import Range
from polyarch.graph.location import Location
from polyarch.record import field, frozen, replace
from polyarch.request.policies import Policy

__all__ = ["Bases", "Group", "Target"]

T = TypeVar("T")
_LIMITS = (
    "memory",
    "memory-swap",
    "cpu-shares",
    "cpu-period",
    "cpu-quota",
    "cpuset-cpus",
    "cpuset-mems",
)


@frozen
class Group:
    """A name for several targets; `at` is where they are named, if that is known."""

    name: str
    targets: tuple[str, ...] | None = ()
    description: str = ""
    at: Range | None = field(default=None, compare=False, repr=False)

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        whole: dict[str, object] = {"description": self.description} if self.description else {}
        return {**whole, "targets": None if self.targets is None else list(self.targets)}


@frozen
class Bases:
    """Directories, or their addresses, that paths are relative to, where they are so to their files; None: to the current one.

    `reference` is the target whose context this one has, "" if it has its own.
    """

    default: str | None = None
    context: str | None = None
    reference: str = ""
    contexts: Mapping[str, str | None] = field(default_factory=dict)


@frozen
class Target:
    """A build, or a part of one that others inherit. `places` are where its attributes are written, "" for itself."""

    name: str = ""
    description: str = ""
    inherits: tuple[str, ...] | None = None
    annotations: tuple[str, ...] | None = None
    attest: tuple[Attest, ...] | None = None
    context: str | None = None
    contexts: Mapping[str, str] | None = None
    dockerfile: str | None = None
    dockerfile_inline: str | None = None
    args: Mapping[str, str | None] | None = None
    labels: Mapping[str, str | None] | None = None
    tags: tuple[str, ...] | None = None
    cache_from: tuple[CacheEntry, ...] | None = None
    cache_to: tuple[CacheEntry, ...] | None = None
    target: str | None = None
    secret: tuple[Secret, ...] | None = None
    ssh: tuple[Ssh, ...] | None = None
    platforms: tuple[str, ...] | None = None
    output: tuple[Export, ...] | None = None
    pull: bool | None = None
    no_cache: bool | None = None
    network: str | None = None
    no_cache_filter: tuple[str, ...] | None = None
    shm_size: str | None = None
    ulimits: tuple[str, ...] | None = None
    resources: Mapping[str, str | int] | None = None
    call: str | None = None
    entitlements: tuple[str, ...] | None = None
    extra_hosts: Mapping[str, str | None] | None = None
    policy: tuple[Policy, ...] | None = None
    linked: bool = field(default=False, compare=False)
    bases: Bases = field(default=Bases(), compare=False)
    places: Mapping[str, Range] = field(default_factory=dict, compare=False, repr=False)

    def place(self, attribute: str) -> Location | None:
        """Return where an attribute is written, None if no file says so."""
        found = self.places.get(attribute)
        return found.location if found is not None else None

    def merged(self, other: Target) -> Target:
        """Return this target with what `other` says over it."""
        changes: dict[str, object] = {}
        for name, rule in _RULES.items():
            if (more := getattr(other, name)) is not None:
                changes[name] = rule.join(getattr(self, name), more)
        changes["bases"] = self._merged_bases(other)
        changes["places"] = {**self.places, **other.places}
        return replace(self, **changes)

    def _merged_bases(self, other: Target) -> Bases:
        one, two = self.bases, other.bases
        own = two if other.context is not None else one
        default = two.default if two.default is not None else one.default
        contexts = {n: at for n, at in one.contexts.items() if n not in (other.contexts or {})}
        return Bases(
            default=default,
            context=own.context,
            reference=own.reference,
            contexts={**contexts, **two.contexts},
        )

    def normalized(self) -> Target:
        """Return the target with nothing said twice."""
        found = {name: getattr(self, name) for name in _RULES}
        if self.network == "host":
            found["entitlements"] = (*(self.entitlements or ()), "network.host")
        changes = {
            name: rule.once(found[name])
            for name, rule in _RULES.items()
            if rule.once is not None and found[name] is not None
        }
        return replace(self, **changes)

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows, in buildx's order, what isn't said left out."""
        whole: dict[str, object] = {}
        for name, rule in _RULES.items():
            value = getattr(self, name)
            if value is not None and _is_said(name, shown := rule.plain(value)):
                whole[name.replace("_", "-")] = shown
        return whole


def _is_said(name: str, value: object) -> bool:
    """Tell whether Go prints a field: empty lists aren't, pointers to empty texts are."""
    if name == "description":
        return value != ""
    return value != [] and (value != {} or name == "resources")


# --- how two values of an attribute are one ---


def _replaced(_one: T, other: T) -> T:
    return other


def _appended(one: Iterable[T] | None, other: Iterable[T]) -> tuple[T, ...]:
    return (*(one or ()), *other)


def _updated(one: Mapping[str, T] | None, other: Mapping[str, T]) -> Mapping[str, T] | None:
    """Put one mapping over another; nulls change nothing."""
    more = {name: value for name, value in other.items() if value is not None}
    return {**(one or {}), **more} if more else one


# --- how nothing is said twice ---


def _once(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in items if each))


def _by_type(items: Sequence[Attest]) -> tuple[Attest, ...]:
    return by_key(items, lambda each: each.type)


def _by_id(items: Sequence[Secret | Ssh]) -> tuple[Secret | Ssh, ...]:
    return by_key(items, lambda each: each.id)


def _or_nothing(once: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what does as `once`, and says nothing where nothing is left."""
    return lambda items: once(items) or None


def _with_value(mapping: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in mapping.items() if value}


# --- how it is printed ---


def _same(value: T) -> T:
    return value


def _escaped(text: str) -> str:
    return text.replace("${", "$${").replace("%{", "%%{")


def _all_escaped(texts: Iterable[str]) -> list[str]:
    return list(map(_escaped, texts))


def _values_escaped(mapping: Mapping[str, str | None]) -> dict[str, str | None]:
    return {
        name: None if value is None else _escaped(value) for name, value in sorted(mapping.items())
    }


def _sorted(mapping: Mapping[str, T]) -> dict[str, T]:
    return dict(sorted(mapping.items()))


def _entries(items: Iterable[Attest | CacheEntry | Export | Secret | Ssh | Policy]) -> list[object]:
    return [each.plain() for each in items]


def _limits(limits: Mapping[str, object]) -> dict[str, object]:
    return {name: limits[name] for name in _LIMITS if name in limits}


class _Rule(NamedTuple):
    """What is done with values of an attribute that aren't None.

    `join` puts a later one over an earlier one, which may be None; `once` takes out what is said twice; `plain` is what
    `--print` shows.
    """

    join: Callable[[Any, Any], Any] = _replaced
    plain: Callable[[Any], object] = _same
    once: Callable[[Any], Any] | None = None


_VALUE = _Rule()
_LIST = _Rule(_replaced, list, _once)
_MORE = _Rule(_appended, list, _once)
_RULES: Mapping[str, _Rule] = {
    "description": _Rule(lambda one, other: other or one),
    "inherits": _Rule(_appended, list),
    "annotations": _Rule(_appended, _all_escaped, _once),
    "attest": _Rule(
        lambda one, other: _by_type(_appended(one, other)), _entries, _or_nothing(_by_type)
    ),
    "context": _VALUE,
    "contexts": _Rule(_updated, _sorted, _or_nothing(_with_value)),
    "dockerfile": _VALUE,
    "dockerfile_inline": _Rule(_replaced, _escaped),
    "args": _Rule(_updated, _values_escaped),
    "labels": _Rule(_updated, _values_escaped),
    "tags": _LIST,
    "cache_from": _Rule(
        lambda one, other: unique(_appended(one, other)), _entries, _or_nothing(unique)
    ),
    "cache_to": _Rule(_replaced, _entries, _or_nothing(unique)),
    "target": _VALUE,
    "secret": _Rule(
        lambda one, other: _by_id(_appended(one, other)), _entries, _or_nothing(_by_id)
    ),
    "ssh": _Rule(lambda one, other: _by_id(_appended(one, other)), _entries, _or_nothing(_by_id)),
    "platforms": _LIST,
    "output": _Rule(_replaced, _entries, _or_nothing(unique)),
    "pull": _VALUE,
    "no_cache": _VALUE,
    "network": _VALUE,
    "no_cache_filter": _MORE,
    "shm_size": _VALUE,
    "ulimits": _MORE,
    "resources": _Rule(lambda one, other: {**(one or {}), **other}, _limits),
    "call": _VALUE,
    "entitlements": _MORE,
    "extra_hosts": _Rule(_updated, _values_escaped),
    "policy": _Rule(_appended, _entries),
}
"""The attributes in the order in which buildx prints them."""
