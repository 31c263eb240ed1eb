"""What Compose's schema says of what builds: which fields there are and of which kinds.

Source: the schema of the Compose specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.text.nearest import suggestion

__all__ = ["check_services"]

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


def check_services(model: Mapping[str, Any]) -> None:
    """Raise InputError for services and secrets that can't be."""
    for name, service in (model.get("services") or {}).items():
        if _SERVICE.match(str(name)) is None:
            raise InputError(f"services additional properties '{name}' not allowed")
        _check_build(f"services.{name}.build", service.get("build"))
        image = service.get("image")
        if image is not None and not isinstance(image, str):
            raise InputError(f"services.{name}.image must be a string")
    secrets = model.get("secrets")
    if secrets is not None and not isinstance(secrets, dict):
        raise InputError("secrets must be a mapping")


def _check_build(path: str, build: Any) -> None:
    if build is None or isinstance(build, str):
        return
    if not isinstance(build, dict):
        raise InputError(f"{path} must be a string")
    for name, value in build.items():
        if name.startswith("x-") or value is None:
            continue
        if name not in _BUILD:
            near = suggestion(name, _BUILD)
            raise InputError(f"{path} additional properties '{name}' not allowed{near}")
        kinds = _BUILD[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = {str: "a string", list: "a list", dict: "a mapping", bool: "a boolean"}
            raise InputError(f"{path}.{name} must be {wanted.get(kinds[0], 'a number')}")
