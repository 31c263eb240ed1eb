"""The `build` section of a service -> a target."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, TypeVar

from polyarch.bakefile.compose.merge import plain, sequence
from polyarch.bakefile.compose.placed import fault, name_in, placing, range_of, replacing_text
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
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.record import frozen, replace

__all__ = ["EXTENSION_FIELDS", "Declared", "service_target"]

T = TypeVar("T")

_ADDRESSES = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_CONTEXTS = (*_ADDRESSES, IMAGE_SCHEME, LAYOUT_SCHEME, "target:", "service:")


@frozen
class Declared:
    """What a section may refer to: secrets of the project, and what null arguments are: `environment`'s, else `known`'s."""

    secrets: Mapping[str, object]
    environment: Mapping[str, str | None]
    known: Mapping[str, str]


def service_target(service: Mapping[str, object], declared: Declared) -> Target:
    """Return the target of a service. Raises InputError with the place of what is wrong."""
    build = service["build"]
    build = build if isinstance(build, dict) else {"context": build}
    fields: dict[str, Any] = {}
    for name, read in _FIELDS.items():
        with placing(name_in(build, name)):
            fields[_attribute(name)] = read(build.get(name), declared)
    attests = [each for each in (fields.pop("sbom"), fields.pop("provenance")) if each]
    places = {_attribute(name).replace("_", "-"): range_of(name) for name in build}
    target = Target(
        **fields,
        attest=tuple(attests) or None,
        places={name: at for name, at in places.items() if at is not None},
    )
    with placing(name_in(build, "x-bake")):
        target = _with_extension(target, build.get("x-bake"))
    if build.get("target"):
        target = replace(target, target=_text(build["target"]))
    image = service.get("image")
    return replace(target, tags=(str(image),)) if image and not target.tags else target


def _attribute(field: str) -> str:
    return _ATTRIBUTES.get(field, field)


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


def _args(args: object, declared: Declared) -> dict[str, str | None] | None:
    found: dict[str, str | None] = {}
    for name, setting in _pairs(args):
        own = declared.environment.get(name) if setting is None else setting
        value = declared.known.get(name) if own is None else own
        if value is not None:
            found[name] = value
    return found or None


def _parsed(values: Iterable[object], parse: Callable[[str], T]) -> list[T]:
    """Read each of some texts; errors have the place of the one that they are about."""
    found: list[T] = []
    for each in values:
        with placing(each):
            found.append(parse(str(each)))
    return found


def _caches(value: object) -> tuple[CacheEntry, ...] | None:
    if not value:
        return None
    return tuple(chain.from_iterable(_parsed(_items(value), parse_caches)))


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
            raise fault(f"unsupported external secret {secret.get('name', source)}", each)
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
    size = _whole(value) if isinstance(value, int | float) else ram_in_bytes(str(value))
    return bytes_size(size) if size > 0 else None


def _whole(value: object) -> int:
    """Read a number that may be written as a text. Raises InputError."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # which is what is found out here
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{plain(value)} isn't a number") from None


def _ulimits(value: object) -> tuple[str, ...] | None:
    found: list[str] = []
    for name, limit in sorted(value.items()) if isinstance(value, dict) else ():
        with placing(name):
            if isinstance(limit, dict):
                soft, hard = _whole(limit.get("soft", 0)), _whole(limit.get("hard", 0))
            else:
                soft = hard = _whole(limit)
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
            found[str(name)] = [str(one) for one in sequence(each)]
    else:
        for name, address in _parsed(_items(value), _host):
            found.setdefault(name, []).append(address)
    return {name: ",".join(addresses) for name, addresses in found.items()}


def _host(text: str) -> tuple[str, str]:
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found:
        raise InputError(f"bad host name {quote(text)}")
    return name, address.strip("[]")


def _attest(kind: str, value: object) -> Attest | None:
    if value in {None, ""}:
        return None
    return parse_attest(attest_shorthand(kind, plain(value)))


def _truth(value: object) -> bool | None:
    if isinstance(value, str):
        value = parse_bool(value)
    return True if value else None


_FIELDS: Mapping[str, Callable[[object, Declared], object]] = {
    "context": lambda value, _: _path(_text(value) or ".", _ADDRESSES),
    "additional_contexts": lambda value, _: _contexts(value),
    "dockerfile": lambda value, _: _text(value),
    "dockerfile_inline": lambda value, _: _text(value),
    "tags": lambda value, _: _texts(value),
    "labels": lambda value, _: _labels(value),
    "args": _args,
    "cache_from": lambda value, _: _caches(value),
    "cache_to": lambda value, _: _caches(value),
    "network": lambda value, _: _text(value),
    "platforms": lambda value, _: _texts(value),
    "ssh": lambda value, _: _agents(value),
    "secrets": lambda value, declared: _secrets(value, declared.secrets),
    "shm_size": lambda value, _: _size(value),
    "ulimits": lambda value, _: _ulimits(value),
    "extra_hosts": lambda value, _: _hosts(value),
    "sbom": lambda value, _: _attest("sbom", value),
    "provenance": lambda value, _: _attest("provenance", value),
    "no_cache": lambda value, _: _truth(value),
    "pull": lambda value, _: _truth(value),
}
"""How each field of a section is read; None where it isn't written."""
_ATTRIBUTES = {"secrets": "secret", "additional_contexts": "contexts"}
"""Attributes of targets that have other names than the fields; `sbom` and `provenance` are one."""


# --- x-bake ---


def _words(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(replacing_text(value, each) for each in value.split())
    return tuple(replacing_text(each, plain(each)) for each in _items(value))


def _with_extension(target: Target, extension: object) -> Target:
    if extension is None:
        return target
    if not isinstance(extension, dict):
        raise InputError("yaml: unmarshal errors: x-bake must be a mapping")
    changes: dict[str, object] = {}
    written = {name: range_of(name_in(extension, name)) for name in (*_JOINED, "contexts")}
    places = {name: at for name, at in written.items() if at is not None}
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
        more_contexts = {str(name): _context(plain(at)) for name, at in contexts.items()}
        changes["contexts"] = {**more_contexts, **(target.contexts or {})}
    return replace(target, **changes, places={**target.places, **places})


def _joined_texts(before: tuple[str, ...] | None, words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(before or ()), *map(str, words))))


def _joined_caches(
    before: tuple[CacheEntry, ...] | None, words: Iterable[str]
) -> tuple[CacheEntry, ...]:
    return unique((*(before or ()), *chain.from_iterable(_parsed(words, parse_caches))))


def _joined_secrets(target: Target, words: Iterable[str]) -> tuple[Secret, ...]:
    return by_key((*(target.secret or ()), *_parsed(words, parse_secret)), lambda each: each.id)


def _joined_agents(target: Target, words: Iterable[str]) -> tuple[Ssh, ...]:
    agents = by_key((*(target.ssh or ()), *_parsed(words, parse_ssh)), lambda each: each.id)
    return tuple(sorted(agents, key=lambda each: (each.id, each.paths)))


_JOINED: Mapping[str, Callable[[Target, tuple[str, ...]], object]] = {
    "tags": lambda target, words: _joined_texts(target.tags, words),
    "platforms": lambda target, words: _joined_texts(target.platforms, words),
    "no-cache-filter": lambda target, words: _joined_texts(target.no_cache_filter, words),
    "cache-from": lambda target, words: _joined_caches(target.cache_from, words),
    "cache-to": lambda target, words: _joined_caches(target.cache_to, words),
    "secret": _joined_secrets,
    "ssh": _joined_agents,
    "output": lambda target, words: unique((*(target.output or ()), *_parsed(words, parse_export))),
}
"""What a list of the extension does with what the target has: it comes after that, each entry once."""
EXTENSION_FIELDS = (*_JOINED, "pull", "no-cache", "contexts")
"""What `x-bake` may say."""
