"""The `build` section of a service -> a target."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from polyarch.bakefile.compose.merge import plain, sequence
from polyarch.bakefile.entries import (
    Attest,
    CacheEntry,
    Export,
    Secret,
    Ssh,
    attest_shorthand,
    by_key,
    parse_attest,
    parse_caches,
    parse_export,
    parse_secret,
    parse_ssh,
    unique,
)
from polyarch.bakefile.names import sanitized
from polyarch.bakefile.target import Target
from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, parse_bool, quote
from polyarch.golang.units import bytes_size, ram_in_bytes
from polyarch.record import replace

__all__ = ["service_target"]

_ADDRESSES = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_CONTEXTS = (*_ADDRESSES, "docker-image://", "oci-layout://", "target:", "service:")


def service_target(
    service: Mapping[str, Any],
    secrets: Mapping[str, Any],
    environment: Mapping[str, str | None],
    known: Mapping[str, str],
) -> Target:
    """Return the target of a service. Null arguments are `environment`'s, else `known`'s. Raises InputError."""
    build = service["build"]
    build = {"context": build} if isinstance(build, str) else build
    target = Target(
        context=_path(build.get("context") or ".", _ADDRESSES),
        contexts=_contexts(build.get("additional_contexts")),
        dockerfile=build.get("dockerfile") or None,
        dockerfile_inline=build.get("dockerfile_inline") or None,
        tags=_texts(build.get("tags")),
        labels=_labels(build.get("labels")),
        args=_args(build.get("args"), environment, known),
        cache_from=_caches(build.get("cache_from")),
        cache_to=_caches(build.get("cache_to")),
        network=build.get("network") or None,
        platforms=_texts(build.get("platforms")),
        ssh=_agents(build.get("ssh")),
        secret=_secrets(build.get("secrets"), secrets),
        shm_size=_size(build.get("shm_size")),
        ulimits=_ulimits(build.get("ulimits")),
        extra_hosts=_hosts(build.get("extra_hosts")),
        attest=_attests(build),
        no_cache=_truth(build.get("no_cache")),
        pull=_truth(build.get("pull")),
    )
    target = _with_extension(target, build.get("x-bake"))
    if build.get("target"):
        target = replace(target, target=build["target"])
    if not target.tags and service.get("image"):
        target = replace(target, tags=(service["image"],))
    return target


def _path(text: str, kept: tuple[str, ...]) -> str:
    """Return a path as compose-go cleans it; addresses stay."""
    return text if text.startswith(kept) else posixpath.normpath(text)


def _texts(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(plain(each) for each in value)


def _pairs(value: Any) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for each in sequence(value):
        name, equals, setting = plain(each).partition("=")
        found.append((name, setting if equals else None))
    return found


def _labels(value: Any) -> dict[str, str | None]:
    return {name: setting or "" for name, setting in _pairs(value)}


def _contexts(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    return {name: _context(_path(at or "", _CONTEXTS)) for name, at in _pairs(value)}


def _context(value: str) -> str:
    if value.startswith(("service:", "target:")):
        return f"target:{sanitized(value.partition(':')[2])}"
    return value


def _args(
    value: Any, environment: Mapping[str, str | None], known: Mapping[str, str]
) -> dict[str, str | None] | None:
    found: dict[str, str | None] = {}
    for name, setting in _pairs(value):
        if setting is None:
            own = environment.get(name)
            setting = own if own is not None else known.get(name)  # noqa: PLW2901
        if setting is not None:
            found[name] = setting
    return found or None


def _caches(value: Any) -> tuple[CacheEntry, ...] | None:
    if not value:
        return None
    return tuple(cache for each in value for cache in parse_caches(str(each)))


def _agents(value: Any) -> tuple[Ssh, ...] | None:
    agents = [Ssh(id=name, paths=(path,) if path else ()) for name, path in _pairs(value)]
    return tuple(sorted(agents, key=lambda each: (each.id, each.paths))) or None


def _secrets(value: Any, declared: Mapping[str, Any]) -> tuple[Secret, ...] | None:
    found: list[Secret] = []
    for each in value or ():
        source = str(each.get("source", "")) if isinstance(each, dict) else str(each)
        secret = declared.get(source) or {}
        if secret.get("external"):
            raise InputError(f"unsupported external secret {secret.get('name', source)}")
        path = str(secret.get("file") or "")
        found.append(
            Secret(
                id=source,
                path=posixpath.normpath(path) if path else "",
                env=str(secret.get("environment") or ""),
            )
        )
    return tuple(found) or None


def _size(value: Any) -> str | None:
    if value is None:
        return None
    size = int(value) if isinstance(value, int | float) else ram_in_bytes(str(value))
    return bytes_size(size) if size > 0 else None


def _ulimits(value: Any) -> tuple[str, ...] | None:
    found: list[str] = []
    for name, limit in sorted((value or {}).items()):
        if isinstance(limit, dict):
            soft, hard = int(limit.get("soft", 0)), int(limit.get("hard", 0))
        else:
            soft = hard = int(limit)
        if soft > hard and hard != -1:
            raise InputError(
                f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )
        found.append(f"{name}={soft}:{hard}")
    return tuple(found) or None


def _hosts(value: Any) -> dict[str, str | None]:
    found: dict[str, list[str]] = {}
    if isinstance(value, dict):
        for name, each in value.items():
            found[name] = [str(one) for one in sequence(each)]
    else:
        for each in value or ():
            text = str(each)
            name, separator, address = text.partition("=")
            if not separator:
                name, separator, address = text.partition(":")
            if not separator:
                raise InputError(f"bad host name {quote(text)}")
            found.setdefault(name, []).append(address.strip("[]"))
    return {name: ",".join(addresses) for name, addresses in found.items()}


def _attests(build: Mapping[str, Any]) -> tuple[Attest, ...] | None:
    found = [
        parse_attest(attest_shorthand(kind, plain(build[kind])))
        for kind in ("sbom", "provenance")
        if build.get(kind) not in {None, ""}
    ]
    return tuple(found) or None


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        value = parse_bool(value)
    return True if value else None


# --- x-bake ---


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(value.split()) if isinstance(value, str) else tuple(plain(v) for v in value)


def _with_extension(target: Target, extension: Any) -> Target:  # noqa: C901 a field each
    if extension is None:
        return target
    if not isinstance(extension, dict):
        raise InputError("yaml: unmarshal errors: x-bake must be a mapping")
    read = {name: _words(extension.get(name)) for name in _LISTS}
    changes: dict[str, object] = {}
    for name, field in (
        ("tags", "tags"),
        ("platforms", "platforms"),
        ("no-cache-filter", "no_cache_filter"),
    ):
        if read[name]:
            changes[field] = tuple(dict.fromkeys((*(getattr(target, field) or ()), *read[name])))
    for name, field in (("cache-from", "cache_from"), ("cache-to", "cache_to")):
        if read[name]:
            more = tuple(cache for each in read[name] for cache in parse_caches(each))
            changes[field] = unique((*(getattr(target, field) or ()), *more))
    if read["secret"]:
        secrets = (*(target.secret or ()), *map(parse_secret, read["secret"]))
        changes["secret"] = by_key(secrets, lambda each: each.id)
    if read["ssh"]:
        agents = by_key((*(target.ssh or ()), *map(parse_ssh, read["ssh"])), lambda each: each.id)
        changes["ssh"] = tuple(sorted(agents, key=lambda each: (each.id, each.paths)))
    if read["output"]:
        outputs: tuple[Export, ...] = tuple(map(parse_export, read["output"]))
        changes["output"] = unique((*(target.output or ()), *outputs))
    for name, field in (("pull", "pull"), ("no-cache", "no_cache")):
        if extension.get(name) is not None:
            value = extension[name]
            changes[field] = find_bool(value) if isinstance(value, str) else bool(value)
    contexts = extension.get("contexts")
    if isinstance(contexts, dict):
        more_contexts = {name: _context(plain(at)) for name, at in contexts.items()}
        changes["contexts"] = {**more_contexts, **(target.contexts or {})}
    return replace(target, **changes)


_LISTS = (
    "tags", "cache-from", "cache-to", "secret", "ssh", "platforms", "output", "no-cache-filter",
)  # fmt: skip
