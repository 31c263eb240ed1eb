"""A target -> the words of `build` that ask for the same, so that both are understood by one set of rules."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from polyarch.bakefile.entries import Attest, CacheEntry, Export, Secret, Ssh
from polyarch.bakefile.target import Target
from polyarch.request.values import is_address

__all__ = ["build_words"]

T = TypeVar("T")


def build_words(target: Target, *, is_part: bool = False) -> list[str]:
    """Return the words; the last one is the build context. A Dockerfile within the target is standard input.

    With `is_part` they ask for a part of the target, for its platforms.
    """
    found: list[str] = []
    for flag, (attribute, values) in _FLAGS.items():
        value = getattr(target, attribute)
        name = "shard" if is_part and flag == "platform" else flag
        found += [f"--{name}={each}" for each in values(value)] if value else []
    return [*found, f"--file={_dockerfile(target)}", target.context or "."]


def _path(context: str) -> str:
    """Return a context without the word for this machine's current directory, which only bake files need."""
    return context.removeprefix("cwd://") or "."


def _dockerfile(target: Target) -> str:
    if target.dockerfile_inline is not None:
        return "-"
    name = target.dockerfile or "Dockerfile"
    if name.startswith("cwd://"):
        return posixpath.abspath(name.removeprefix("cwd://"))
    context = target.context or "."
    if is_address(context) or is_address(name) or posixpath.isabs(name):
        return name
    return posixpath.join(context, name)


def _line(fields: Iterable[tuple[str, str]]) -> str:
    """Write a line of comma separated values."""
    parts: list[str] = []
    for name, value in fields:
        field = f"{name}={value}"
        if any(char in field for char in ',"\n'):
            field = '"' + field.replace('"', '""') + '"'
        parts.append(field)
    return ",".join(parts)


def _cache(cache: CacheEntry) -> str:
    return _line([("type", cache.type), *sorted(cache.attributes.items())])


def _output(output: Export) -> str:
    destination = [("dest", output.destination)] if output.destination else []
    return _line([("type", output.type), *destination, *sorted(output.attributes.items())])


def _attest(attest: Attest) -> str:
    disabled = [("disabled", "true")] if attest.disabled else []
    return _line([("type", attest.type), *disabled, *sorted(attest.attributes.items())])


def _secret(secret: Secret) -> str:
    found = [("id", secret.id), ("src", secret.path), ("env", secret.env)]
    return _line((name, value) for name, value in found if value)


def _ssh(agent: Ssh) -> str:
    return f"{agent.id}={','.join(agent.paths)}" if agent.paths else agent.id


# --- which flag says what ---


def _one(value: object) -> list[object]:
    return [value]


def _switch(_is_on: bool) -> list[str]:
    return ["true"]


def _pairs(mapping: Mapping[str, object]) -> list[str]:
    return [f"{name}={value}" for name, value in mapping.items() if value is not None]


def _hosts(mapping: Mapping[str, str | None]) -> list[str]:
    """Return a word for each address: the flag takes commas for what separates hosts."""
    return [
        f"{name}={address}"
        for name, value in mapping.items()
        if value is not None
        for address in value.split(",")
    ]


def _each(shown: Callable[[T], str]) -> Callable[[Iterable[T]], Iterable[str]]:
    return lambda values: map(shown, values)


_FLAGS: Mapping[str, tuple[str, Callable[[Any], Iterable[object]]]] = {
    "add-host": ("extra_hosts", _hosts),
    "allow": ("entitlements", list),
    "annotation": ("annotations", list),
    "attest": ("attest", _each(_attest)),
    "build-arg": ("args", _pairs),
    "build-context": ("contexts", lambda found: _pairs({n: _path(at) for n, at in found.items()})),
    "cache-from": ("cache_from", _each(_cache)),
    "cache-to": ("cache_to", _each(_cache)),
    "label": ("labels", _pairs),
    "network": ("network", _one),
    "no-cache": ("no_cache", _switch),
    "no-cache-filter": ("no_cache_filter", list),
    "output": ("output", _each(_output)),
    "platform": ("platforms", list),
    "pull": ("pull", _switch),
    "resource": ("resources", _pairs),
    "secret": ("secret", _each(_secret)),
    "shm-size": ("shm_size", _one),
    "ssh": ("ssh", _each(_ssh)),
    "tag": ("tags", list),
    "target": ("target", _one),
    "ulimit": ("ulimits", list),
}
"""The flags of `build`: the attribute that each says, and its values, once it is there. `--file` needs several."""
