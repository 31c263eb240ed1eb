"""What Compose's schema says of what builds: which fields there are and of which kinds.

Source: the schema of the Compose specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polyarch.bakefile.compose.placed import fault, name_in, range_of
from polyarch.bakefile.compose.services import EXTENSION_FIELDS
from polyarch.pattern import pattern
from polyarch.text.nearest import nearest, suggestion

__all__ = ["SERVICE_FIELDS", "check_services", "misspelt"]

_SERVICE = pattern(r"[a-zA-Z0-9._-]+\Z")
_TEXT = (str,)
_TRUTH = (bool, str)
_TEXTS = (list, dict)
_BUILD: Mapping[str, tuple[type, ...]] = {
    "context": _TEXT, "dockerfile": _TEXT, "dockerfile_inline": _TEXT, "entitlements": (list,),
    "args": _TEXTS, "ssh": _TEXTS, "labels": _TEXTS, "cache_from": (list,), "cache_to": (list,),
    "no_cache": _TRUTH, "no_cache_filter": (list, str), "additional_contexts": _TEXTS,
    "network": _TEXT, "provenance": _TRUTH, "sbom": _TRUTH, "pull": _TRUTH, "target": _TEXT,
    "shm_size": (int, float, str), "extra_hosts": _TEXTS, "isolation": _TEXT, "privileged": _TRUTH,
    "secrets": (list,), "tags": (list,), "ulimits": (dict,), "platforms": (list,),
}  # fmt: skip
_KINDS = {str: "a string", list: "a list", dict: "a mapping", bool: "a boolean"}
SERVICE_FIELDS = ("image", "build", "environment", "env_file", "extends")
"""What is read of a service. Its other fields are for running it, and aren't looked at."""
_DOCUMENT_FIELDS = ("services", "secrets", "include")


def misspelt(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence, with its place, for each name that means nothing but nearly what is read."""
    for name in document:
        yield from _sentence(name, "a Compose file", _DOCUMENT_FIELDS)
    services = document.get("services")
    for service, fields in _mapping(services).items():
        for name in _mapping(fields):
            yield from _sentence(name, f"service {service}", SERVICE_FIELDS)
        for name in _mapping(_mapping(_mapping(fields).get("build")).get("x-bake")):
            yield from _sentence(name, f"x-bake of service {service}", EXTENSION_FIELDS)


def _mapping(value: object) -> Mapping[Any, object]:
    return value if isinstance(value, dict) else {}


def _sentence(name: object, owner: str, known: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(name, str) or name.startswith("x-"):
        return
    if (near := nearest(name, known)) and (at := range_of(name)) is not None:
        yield f'{at.source.name}:{at.line}: {owner} has no field "{name}" (did you mean {near}?)'


def check_services(model: Mapping[str, Any]) -> None:
    """Raise BakeFileError for services and secrets that can't be."""
    for name, service in (model.get("services") or {}).items():
        if _SERVICE.match(str(name)) is None:
            raise fault(f"services additional properties '{name}' not allowed", name)
        _check_build(f"services.{name}.build", service)
        image = service.get("image")
        if image is not None and not isinstance(image, str):
            raise fault(f"services.{name}.image must be a string", name_in(service, "image"))
    secrets = model.get("secrets")
    if secrets is not None and not isinstance(secrets, dict):
        raise fault("secrets must be a mapping", name_in(model, "secrets"))


def _check_build(path: str, service: Mapping[str, Any]) -> None:
    build = service.get("build")
    if build is None or isinstance(build, str):
        return
    if not isinstance(build, dict):
        raise fault(f"{path} must be a string", name_in(service, "build"))
    for name, value in build.items():
        if name.startswith("x-") or value is None:
            continue
        if name not in _BUILD:
            near = suggestion(name, _BUILD)
            raise fault(f"{path} additional properties '{name}' not allowed{near}", name)
        kinds = _BUILD[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise fault(f"{path}.{name} must be {_KINDS.get(kinds[0], 'a number')}", name)
