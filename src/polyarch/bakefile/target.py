"""Targets and groups as values: what is written of them, how two are merged, and how they are printed.

None is what isn't written. Source: documentation of bake files, and behaviour of buildx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

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
from polyarch.bakefile.policies import Policy
from polyarch.graph.location import Location
from polyarch.record import field, frozen, replace

__all__ = ["Bases", "Group", "Target"]

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
        for name in _REPLACED:
            if (value := getattr(other, name)) is not None:
                changes[name] = value
        for name in _APPENDED:
            if (more := getattr(other, name)) is not None:
                changes[name] = (*(getattr(self, name) or ()), *more)
        for name in _MAPS:
            changes[name] = _joined(getattr(self, name), getattr(other, name))
        for name, joined in _JOINED.items():
            if (entries := getattr(other, name)) is not None:
                changes[name] = joined((*(getattr(self, name) or ()), *entries))
        if other.resources is not None:
            changes["resources"] = {**(self.resources or {}), **other.resources}
        if other.description:
            changes["description"] = other.description
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
        entitlements = self.entitlements
        if self.network == "host":
            entitlements = (*(entitlements or ()), "network.host")
        contexts = {name: at for name, at in (self.contexts or {}).items() if at}
        return replace(
            self,
            annotations=_once(self.annotations),
            attest=by_key(self.attest or (), lambda each: each.type) or None,
            tags=_once(self.tags),
            secret=by_key(self.secret or (), lambda each: each.id) or None,
            ssh=by_key(self.ssh or (), lambda each: each.id) or None,
            platforms=_once(self.platforms),
            cache_from=unique(self.cache_from or ()) or None,
            cache_to=unique(self.cache_to or ()) or None,
            output=unique(self.output or ()) or None,
            no_cache_filter=_once(self.no_cache_filter),
            ulimits=_once(self.ulimits),
            entitlements=_once(entitlements),
            contexts=contexts or None,
        )

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows, in buildx's order, what isn't said left out."""
        args, labels = _texts(self.args), _texts(self.labels)
        whole: dict[str, object] = {
            "description": self.description,
            "inherits": _list(self.inherits),
            "annotations": [_escaped(each) for each in self.annotations or ()],
            "attest": [each.plain() for each in self.attest or ()],
            "context": self.context,
            "contexts": dict(sorted((self.contexts or {}).items())),
            "dockerfile": self.dockerfile,
            "dockerfile-inline": _escaped(self.dockerfile_inline),
            "args": args,
            "labels": labels,
            "tags": _list(self.tags),
            "cache-from": [each.plain() for each in self.cache_from or ()],
            "cache-to": [each.plain() for each in self.cache_to or ()],
            "target": self.target,
            "secret": [each.plain() for each in self.secret or ()],
            "ssh": [each.plain() for each in self.ssh or ()],
            "platforms": _list(self.platforms),
            "output": [each.plain() for each in self.output or ()],
            "pull": self.pull,
            "no-cache": self.no_cache,
            "network": self.network,
            "no-cache-filter": _list(self.no_cache_filter),
            "shm-size": self.shm_size,
            "ulimits": _list(self.ulimits),
            "resources": self._plain_resources(),
            "call": self.call,
            "entitlements": _list(self.entitlements),
            "extra-hosts": _texts(self.extra_hosts),
            "policy": [each.plain() for each in self.policy or ()],
        }
        return {name: value for name, value in whole.items() if _is_said(name, value)}

    def _plain_resources(self) -> dict[str, object] | None:
        if self.resources is None:
            return None
        return {name: self.resources[name] for name in _LIMITS if name in self.resources}


def _is_said(name: str, value: object) -> bool:
    """Tell whether Go prints a field: empty lists and no pointers aren't, pointers to empty texts are."""
    if value is None or value in ([], ()):
        return False
    if name == "description":
        return value != ""
    return value != {} or name == "resources"


def _escaped(text: str | None) -> str | None:
    if text is None:
        return None
    return text.replace("${", "$${").replace("%{", "%%{")


def _texts(mapping: Mapping[str, str | None] | None) -> dict[str, str | None]:
    return {name: _escaped(value) for name, value in sorted((mapping or {}).items())}


def _list(items: Iterable[str] | None) -> list[str]:
    return list(items or ())


def _once(items: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if items is None else tuple(dict.fromkeys(each for each in items if each))


def _joined(
    one: Mapping[str, str | None] | None, other: Mapping[str, str | None] | None
) -> Mapping[str, str | None] | None:
    """Put one mapping over another; nulls change nothing."""
    more = {name: value for name, value in (other or {}).items() if value is not None}
    return {**(one or {}), **more} if more else one


_JOINED: Mapping[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    "attest": lambda each: by_key(each, lambda one: one.type),
    "secret": lambda each: by_key(each, lambda one: one.id),
    "ssh": lambda each: by_key(each, lambda one: one.id),
    "cache_from": unique,
}
_REPLACED = (
    "context", "dockerfile", "dockerfile_inline", "tags", "target", "call", "platforms", "cache_to",
    "output", "pull", "no_cache", "network", "shm_size",
)  # fmt: skip
_APPENDED = ("annotations", "policy", "no_cache_filter", "ulimits", "entitlements", "inherits")
_MAPS = ("args", "contexts", "labels", "extra_hosts")
