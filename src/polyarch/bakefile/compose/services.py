"""The `build` section of a service -> a target."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from polyarch.bakefile.compose.merge import plain, sequence
from polyarch.bakefile.entries import (
    Attest,
    CacheEntry,
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
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.record import replace

__all__ = ["service_target"]

_ADDRESSES = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_CONTEXTS = (*_ADDRESSES, "docker-image://", LAYOUT_SCHEME, "target:", "service:")


def service_target(
    service: Mapping[str, object],
    secrets: Mapping[str, object],
    environment: Mapping[str, str | None],
    known: Mapping[str, str],
) -> Target:
    """Return the target of a service. Null arguments are `environment`'s, else `known`'s. Raises InputError."""
    build = service["build"]
    build = build if isinstance(build, dict) else {"context": build}
    target = Target(
        context=_path(_text(build.get("context")) or ".", _ADDRESSES),
        contexts=_contexts(build.get("additional_contexts")),
        dockerfile=_text(build.get("dockerfile")),
        dockerfile_inline=_text(build.get("dockerfile_inline")),
        tags=_texts(build.get("tags")),
        labels=_labels(build.get("labels")),
        args=_args(build.get("args"), environment, known),
        cache_from=_caches(build.get("cache_from")),
        cache_to=_caches(build.get("cache_to")),
        network=_text(build.get("network")),
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
    image = service.get("image")
    return replace(target, tags=(str(image),)) if image and not target.tags else target


def _path(text: str, kept: tuple[str, ...]) -> str:
    """Return a path as compose-go cleans it; addresses stay."""
    return text if text.startswith(kept) else posixpath.normpath(text)


def _text(value: object) -> str | None:
    return str(value) if value else None


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> tuple[str, ...] | None:
    return None if value is None else tuple(map(plain, _items(value)))


def _pairs(value: object) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for each in sequence(value):
        name, equals, setting = plain(each).partition("=")
        found.append((name, setting if equals else None))
    return found


def _labels(value: object) -> dict[str, str | None]:
    return {name: setting or "" for name, setting in _pairs(value)}


def _contexts(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    return {name: _context(_path(at or "", _CONTEXTS)) for name, at in _pairs(value)}


def _context(value: str) -> str:
    if value.startswith(("service:", "target:")):
        return f"target:{sanitized(value.partition(':')[2])}"
    return value


def _args(
    args: object, environment: Mapping[str, str | None], known: Mapping[str, str]
) -> dict[str, str | None] | None:
    found: dict[str, str | None] = {}
    for name, setting in _pairs(args):
        own = environment.get(name) if setting is None else setting
        value = known.get(name) if own is None else own
        if value is not None:
            found[name] = value
    return found or None


def _caches(value: object) -> tuple[CacheEntry, ...] | None:
    if not value:
        return None
    return tuple(cache for each in _items(value) for cache in parse_caches(str(each)))


def _agents(value: object) -> tuple[Ssh, ...] | None:
    agents = [Ssh(id=name, paths=(path,) if path else ()) for name, path in _pairs(value)]
    return tuple(sorted(agents, key=lambda each: (each.id, each.paths))) or None


def _secrets(value: object, declared: Mapping[str, object]) -> tuple[Secret, ...] | None:
    found: list[Secret] = []
    for each in _items(value):
        source = str(each.get("source", "")) if isinstance(each, dict) else str(each)
        described = declared.get(source)
        secret = described if isinstance(described, dict) else {}
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


def _size(value: object) -> str | None:
    if value is None:
        return None
    size = int(value) if isinstance(value, int | float) else ram_in_bytes(str(value))
    return bytes_size(size) if size > 0 else None


def _ulimits(value: object) -> tuple[str, ...] | None:
    found: list[str] = []
    for name, limit in sorted(value.items()) if isinstance(value, dict) else ():
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


def _hosts(value: object) -> dict[str, str | None]:
    found: dict[str, list[str]] = {}
    if isinstance(value, dict):
        for name, each in value.items():
            found[name] = [str(one) for one in sequence(each)]
    else:
        for each in _items(value):
            text = str(each)
            name, separator, address = text.partition("=")
            if not separator:
                name, separator, address = text.partition(":")
            if not separator:
                raise InputError(f"bad host name {quote(text)}")
            found.setdefault(name, []).append(address.strip("[]"))
    return {name: ",".join(addresses) for name, addresses in found.items()}


def _attests(build: Mapping[str, object]) -> tuple[Attest, ...] | None:
    found = [
        parse_attest(attest_shorthand(kind, plain(build[kind])))
        for kind in ("sbom", "provenance")
        if build.get(kind) not in {None, ""}
    ]
    return tuple(found) or None


def _truth(value: object) -> bool | None:
    if isinstance(value, str):
        value = parse_bool(value)
    return True if value else None


# --- x-bake ---


def _words(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(value.split()) if isinstance(value, str) else tuple(map(plain, _items(value)))


def _with_extension(target: Target, extension: object) -> Target:
    if extension is None:
        return target
    if not isinstance(extension, dict):
        raise InputError("yaml: unmarshal errors: x-bake must be a mapping")
    changes: dict[str, object] = {}
    for name, join in _JOINED.items():
        if words := _words(extension.get(name)):
            changes[name.replace("-", "_")] = join(target, words)
    for name in ("pull", "no-cache"):
        value = extension.get(name)
        if value is not None:
            is_set = find_bool(value) if isinstance(value, str) else bool(value)
            changes[name.replace("-", "_")] = is_set
    contexts = extension.get("contexts")
    if isinstance(contexts, dict):
        more_contexts = {name: _context(plain(at)) for name, at in contexts.items()}
        changes["contexts"] = {**more_contexts, **(target.contexts or {})}
    return replace(target, **changes)


def _joined_texts(before: tuple[str, ...] | None, words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(before or ()), *words)))


def _joined_caches(
    before: tuple[CacheEntry, ...] | None, words: Iterable[str]
) -> tuple[CacheEntry, ...]:
    return unique((*(before or ()), *chain.from_iterable(map(parse_caches, words))))


def _joined_secrets(target: Target, words: Iterable[str]) -> tuple[Secret, ...]:
    return by_key((*(target.secret or ()), *map(parse_secret, words)), lambda each: each.id)


def _joined_agents(target: Target, words: Iterable[str]) -> tuple[Ssh, ...]:
    agents = by_key((*(target.ssh or ()), *map(parse_ssh, words)), lambda each: each.id)
    return tuple(sorted(agents, key=lambda each: (each.id, each.paths)))


_JOINED: Mapping[str, Callable[[Target, tuple[str, ...]], object]] = {
    "tags": lambda target, words: _joined_texts(target.tags, words),
    "platforms": lambda target, words: _joined_texts(target.platforms, words),
    "no-cache-filter": lambda target, words: _joined_texts(target.no_cache_filter, words),
    "cache-from": lambda target, words: _joined_caches(target.cache_from, words),
    "cache-to": lambda target, words: _joined_caches(target.cache_to, words),
    "secret": _joined_secrets,
    "ssh": _joined_agents,
    "output": lambda target, words: unique((*(target.output or ()), *map(parse_export, words))),
}
"""What a list of the extension does with what the target has: it comes after that, each entry once."""
