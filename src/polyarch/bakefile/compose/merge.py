"""Compose files over one another, and services that extend others.

Source: documentation of Compose, "Merge" and "Extend", and behaviour of compose-go.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from polyarch.bakefile.compose.yamls import Override, Reset
from polyarch.errors import InputError
from polyarch.golang.strconv import quote

__all__ = ["extended", "merged", "plain", "sequence"]

_AS_SEQUENCES = (
    ("build", "args"),
    ("build", "additional_contexts"),
    ("build", "extra_hosts"),
    ("build", "labels"),
    ("environment",),
    ("env_file",),
)


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return one document with another one over it. Raises InputError."""
    whole = _merge(one, other, ())
    assert isinstance(whole, dict)
    return whole


def _merge(one: Any, other: Any, path: tuple[str, ...]) -> Any:  # noqa: C901, PLR0911 a rule each
    if isinstance(other, Reset):
        return None
    if isinstance(other, Override):
        return other.value
    in_service = path[2:] if path[:1] == ("services",) and len(path) > 2 else ()
    if in_service == ("build",):
        one, other = _build(one), _build(other)
    elif in_service in _AS_SEQUENCES:
        return [*sequence(one), *sequence(other)]
    elif in_service in {("command",), ("entrypoint",)}:
        return other
    if other is None:
        return one
    if isinstance(one, dict):
        if not isinstance(other, dict):
            raise InputError(f"cannot override {'.'.join(path)}")
        found = dict(one)
        for name, value in other.items():
            found[name] = _merge(one[name], value, (*path, name)) if name in one else _clean(value)
            if isinstance(value, Reset):
                del found[name]
        return found
    if isinstance(one, list):
        if not isinstance(other, list):
            raise InputError(f"cannot override {'.'.join(path)}")
        return [*one, *other]
    return other


def _clean(value: Any) -> Any:
    return value.value if isinstance(value, Override) else value


def _build(value: Any) -> Any:
    return {"context": value} if isinstance(value, str) else value


def sequence(value: Any) -> list[Any]:
    """Return a list or a mapping as a list of `name=value`."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [
            str(name) if each is None else f"{name}={plain(each)}" for name, each in value.items()
        ]
    return value if isinstance(value, list) else [value]


def plain(value: Any) -> str:
    """Write a scalar as Go's `%v` does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)


Read = Callable[[str], dict[str, Any]]


def extended(services: dict[str, Any], read: Read) -> dict[str, Any]:
    """Return services with what they extend below them; `read` returns the services of another file."""
    return {name: _extended(name, services, read, ()) for name in services}


def _extended(name: str, services: dict[str, Any], read: Read, seen: tuple[str, ...]) -> Any:
    service = services.get(name)
    if not isinstance(service, dict) or "extends" not in service:
        return service
    extends = service["extends"]
    if isinstance(extends, str):
        extends = {"service": extends}
    if not isinstance(extends, dict) or not isinstance(extends.get("service"), str):
        raise InputError(f"services.{name}.extends.service is required")
    base_name, file = extends["service"], extends.get("file")
    key = f"{file or ''}:{base_name}"
    if key in seen:
        raise InputError(f"Circular reference with extends: {' '.join((*seen, key))}")
    others = services
    if file:
        others = _moved(read(str(file)), os.path.dirname(str(file)))
    if base_name not in others:
        raise InputError(
            f"cannot extend service {quote(name)} in {file or ''}: service {quote(base_name)} not found"
        )
    base = _extended(base_name, others, read, (*seen, key))
    own = {field: value for field, value in service.items() if field != "extends"}
    one = {"services": {name: base or {}}}
    return merged(one, {"services": {name: own}})["services"][name]


def _moved(services: dict[str, Any], directory: str) -> dict[str, Any]:
    """Return services of a file elsewhere with their contexts relative to here."""
    if not directory:
        return services
    found: dict[str, Any] = {}
    for name, service in services.items():
        if isinstance(service, dict) and service.get("build") is not None:
            build = dict(_build(service["build"]))
            context = str(build.get("context", "."))
            if not context.startswith("/") and "://" not in context:
                build["context"] = os.path.join(directory, context)
            service = {**service, "build": build}  # noqa: PLW2901 the moved one
        found[name] = service
    return found
