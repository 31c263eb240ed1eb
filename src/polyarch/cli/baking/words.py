"""A target -> the words of `build` that ask for the same, so that both are understood by one set of rules."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from polyarch.bakefile.entries import Attest, CacheEntry, Export, Secret, Ssh
from polyarch.bakefile.target import Target
from polyarch.request.values import is_address

__all__ = ["build_words"]


def build_words(target: Target, *, is_part: bool = False) -> list[str]:
    """Return the words; the last one is the build context. A Dockerfile within the target is standard input.

    With `is_part` they ask for a part of the target, for its platforms.
    """
    flags = [
        ("shard" if is_part and f == "platform" else f, values) for f, values in _flags(target)
    ]
    found = [f"--{flag}={value}" for flag, values in flags for value in values]
    return [*found, target.context or "."]


def _flags(target: Target) -> Iterator[tuple[str, Iterable[str]]]:
    yield "add-host", (f"{n}={at}" for n, at in _set(target.extra_hosts))
    yield "allow", target.entitlements or ()
    yield "annotation", target.annotations or ()
    yield "attest", map(_attest, target.attest or ())
    yield "build-arg", (f"{name}={value}" for name, value in _set(target.args))
    yield "build-context", (f"{name}={_path(at)}" for name, at in (target.contexts or {}).items())
    yield "cache-from", map(_cache, target.cache_from or ())
    yield "cache-to", map(_cache, target.cache_to or ())
    yield "file", [_dockerfile(target)]
    yield "label", (f"{name}={value}" for name, value in _set(target.labels))
    yield "network", [target.network] if target.network else []
    yield "no-cache", ["true"] if target.no_cache else []
    yield "no-cache-filter", target.no_cache_filter or ()
    yield "output", map(_output, target.output or ())
    yield "platform", target.platforms or ()
    yield "pull", ["true"] if target.pull else []
    yield "resource", (f"{name}={limit}" for name, limit in (target.resources or {}).items())
    yield "secret", map(_secret, target.secret or ())
    yield "shm-size", [target.shm_size] if target.shm_size else []
    yield "ssh", map(_ssh, target.ssh or ())
    yield "tag", target.tags or ()
    yield "target", [target.target] if target.target else []
    yield "ulimit", target.ulimits or ()


def _path(context: str) -> str:
    """Return a context without the word for this machine's current directory, which only bake files need."""
    return context.removeprefix("cwd://") or "."


def _set(mapping: Mapping[str, str | None] | None) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in (mapping or {}).items() if value is not None)


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
