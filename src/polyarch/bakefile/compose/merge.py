"""Compose files over one another, and services that extend others.

Source: documentation of Compose, "Merge" and "Extend", and behaviour of compose-go.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from polyarch.bakefile.compose.placed import fault, placing, replacing_text
from polyarch.bakefile.compose.yamls import Override, Reset
from polyarch.golang.strconv import quote
from polyarch.text.nearest import suggestion

__all__ = ["Tree", "extended", "merged", "plain", "sequence"]

Tree = dict[str, object]
"""A mapping of a document."""
Read = Callable[[str], Tree]
_REPLACED = (("command",), ("entrypoint",))

_AS_SEQUENCES = (
    ("build", "args"),
    ("build", "additional_contexts"),
    ("build", "extra_hosts"),
    ("build", "labels"),
    ("environment",),
    ("env_file",),
)


def merged(one: Tree, other: Tree) -> Tree:
    """Return one document with another one over it. Raises BakeFileError."""
    whole = _merge(one, other, ())
    assert isinstance(whole, dict)
    return whole


def _merge(one: object, other: object, path: tuple[str, ...]) -> object:
    if isinstance(other, Override):
        return other.value
    in_service = path[2:] if path[:1] == ("services",) and len(path) > 2 else ()
    if in_service == ("build",):
        one, other = _build(one), _build(other)
    elif in_service in _AS_SEQUENCES:
        return [*sequence(one), *sequence(other)]
    elif in_service in _REPLACED:
        return other
    if other is None:
        return one
    if isinstance(one, dict | list):
        return _joined(one, other, path)
    return other


def _joined(one: Tree | list[object], other: object, path: tuple[str, ...]) -> object:
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if not isinstance(one, dict) or not isinstance(other, dict):
        raise fault(f"cannot override {'.'.join(path)}", other, *path[-1:])
    # Names are those of the later file, as their values are: its lines are shown if something is wrong with them.
    later = {name: name for name in other}
    found: Tree = {later.get(name, name): value for name, value in one.items()}
    for name, value in other.items():
        if isinstance(value, Reset):
            found.pop(name, None)
        else:
            found[name] = _merge(one[name], value, (*path, name)) if name in one else _clean(value)
    return found


def _clean(value: object) -> object:
    return value.value if isinstance(value, Override) else value


def _build(value: object) -> object:
    return {replacing_text(value, "context"): value} if isinstance(value, str) else value


def sequence(value: object) -> list[object]:
    """Return a list or a mapping as a list of `name=value`."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [
            name if each is None else replacing_text(name, f"{name}={plain(each)}")
            for name, each in value.items()
        ]
    return value if isinstance(value, list) else [value]


def plain(value: object) -> str:
    """Write a scalar as Go's `%v` does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)


def extended(services: Tree, read: Read) -> Tree:
    """Return services with what they extend below them; `read` returns the services of another file."""
    return {name: _extended(name, services, read, ()) for name in services}


def _extended(name: str, services: Tree, read: Read, seen: tuple[str, ...]) -> object:
    service = services.get(name)
    if not isinstance(service, dict) or "extends" not in service:
        return service
    base_name, file = _base(name, service["extends"])
    key = f"{file}:{base_name}"
    if key in seen:
        message = f"Circular reference with extends: {' '.join((*seen, key))}"
        raise fault(message, service["extends"])
    others = services
    if file:
        with placing(service["extends"]):
            others = _moved(read(file), os.path.dirname(file))
    if base_name not in others:
        near = suggestion(base_name, others)
        raise fault(
            f"cannot extend service {quote(name)} in {file}: service {quote(base_name)} not found{near}",
            base_name,
        )
    base = _extended(base_name, others, read, (*seen, key))
    own = {field: value for field, value in service.items() if field != "extends"}
    return _merge(base or {}, own, ("services", name))


def _base(name: str, extends: object) -> tuple[str, str]:
    """Return the name of the service that another extends, and its file, "" for the same. Raises BakeFileError."""
    if isinstance(extends, str):
        return extends, ""
    base = extends.get("service") if isinstance(extends, dict) else None
    if not isinstance(extends, dict) or not isinstance(base, str):
        raise fault(f"services.{name}.extends.service is required", extends, name)
    return base, str(extends.get("file") or "")


def _moved(services: Tree, directory: str) -> Tree:
    """Return services of a file elsewhere with their contexts relative to here."""
    if not directory:
        return services
    found: Tree = {}
    for name, service in services.items():
        build = _build(service.get("build")) if isinstance(service, dict) else None
        if isinstance(service, dict) and isinstance(build, dict):
            context = build.get("context", ".")
            context = context if isinstance(context, str) else str(context)
            if not context.startswith("/") and "://" not in context:
                moved = replacing_text(context, os.path.join(directory, context))
                build = {**build, "context": moved}
            found[name] = {**service, "build": build}
        else:
            found[name] = service
    return found
