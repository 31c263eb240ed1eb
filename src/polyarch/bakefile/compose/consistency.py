"""What a project of Compose must be besides well-formed: services that can be built or run, and names that stand for something.

Source: behaviour of compose-go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polyarch.bakefile.compose.merge import sequence
from polyarch.bakefile.compose.placed import fault, name_in
from polyarch.errors import BakeFileError
from polyarch.golang.strconv import quote
from polyarch.record import frozen
from polyarch.text.nearest import suggestion

__all__ = ["check_consistency"]

_INVALID = "invalid compose project"


@frozen
class _Service:
    name: str
    fields: Mapping[str, Any]
    services: Mapping[str, Any]
    secrets: Mapping[str, Any]

    @property
    def build(self) -> Mapping[str, Any]:
        """The fields of its `build` section."""
        build = self.fields.get("build")
        return build if isinstance(build, dict) else {}


def check_consistency(model: Mapping[str, Any]) -> None:
    """Raise BakeFileError for the first fault of a project: of its secrets, then of its services one by one."""
    secrets = model.get("secrets") or {}
    for each in _faults(model["services"], secrets):
        raise each


def _faults(services: Mapping[str, Any], secrets: Mapping[str, Any]) -> Iterator[BakeFileError]:
    yield from _secrets(secrets)
    for name, fields in services.items():
        service = _Service(name=name, fields=fields, services=services, secrets=secrets)
        for rule in _RULES:
            yield from rule(service)


def _secrets(secrets: Mapping[str, Any]) -> Iterator[BakeFileError]:
    for name, secret in secrets.items():
        fields = secret if isinstance(secret, dict) else {}
        is_known = {"file", "environment", "driver"} & fields.keys() or fields.get("external")
        if not is_known and not any(key.startswith("x-") for key in fields):
            yield fault(
                f"secret {quote(name)} must declare either `file` or `environment`: {_INVALID}",
                name,
            )


def _runs_something(service: _Service) -> Iterator[BakeFileError]:
    if service.fields.get("build") is None and not service.fields.get("image"):
        yield fault(
            f"service {quote(service.name)} has neither an image nor a build context specified: {_INVALID}",
            service.name,
        )


def _has_one_dockerfile(service: _Service) -> Iterator[BakeFileError]:
    build = service.build
    if build.get("dockerfile") and build.get("dockerfile_inline"):
        yield fault(
            f"service {quote(service.name)} declares mutualy exclusive dockerfile and dockerfile_inline: {_INVALID}",
            name_in(build, "dockerfile_inline"),
        )


def _names_contexts(service: _Service) -> Iterator[BakeFileError]:
    for each in sequence(service.build.get("additional_contexts")):
        context, _, value = str(each).partition("=")
        other = value.removeprefix("service:")
        if other == value or (service.services.get(other) or {}).get("build") is not None:
            continue
        is_there = other in service.services
        kind = "non-buildable" if is_there else "unknown"
        near = "" if is_there else suggestion(other, service.services)
        yield fault(
            f"service {quote(service.name)} declares {kind} service {quote(other)} as additional contexts {context}{near}",
            each,
        )


def _names_secrets(service: _Service) -> Iterator[BakeFileError]:
    for each in sequence(service.build.get("secrets")):
        source = each.get("source") if isinstance(each, dict) else each
        if not isinstance(source, str) or source not in service.secrets:
            near = suggestion(str(source), service.secrets)
            yield fault(
                f"service {quote(service.name)} refers to undefined build secret {source}: {_INVALID}{near}",
                source,
                each,
                name_in(service.build, "secrets"),
            )


_RULES = (_runs_something, _has_one_dockerfile, _names_contexts, _names_secrets)
