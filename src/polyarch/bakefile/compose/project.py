"""Compose files -> targets: each service with a `build` section is one, and `default` holds them all.

Only what builds is looked at. Source: documentation of Compose and of bake's Compose files, behaviour of buildx.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyarch.bakefile.access import Access, Tree
from polyarch.bakefile.compose.dotenv import read_dotenv
from polyarch.bakefile.compose.interpolate import interpolate
from polyarch.bakefile.compose.merge import extended, merged, sequence
from polyarch.bakefile.compose.schema import check_services
from polyarch.bakefile.compose.services import service_target
from polyarch.bakefile.compose.yamls import documents
from polyarch.bakefile.config import Config
from polyarch.bakefile.files import File
from polyarch.bakefile.names import check_name, sanitized
from polyarch.bakefile.target import Bases, Group, Target
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.record import replace
from polyarch.text.nearest import suggestion

if TYPE_CHECKING:
    from polyarch.bakefile.definition import Surroundings

__all__ = ["check_compose", "read_compose"]

_INVALID = "invalid compose project"
_SERVICE_FIELDS = ("image", "build", "environment", "env_file")


def check_compose(file: File, around: Surroundings) -> None:
    """Raise InputError unless a file is one of Compose, which others may have to complete."""
    _model([replace(file, name="")], _environment(around), around.access)


def read_compose(files: Sequence[File], around: Surroundings, base: str | None) -> Config:
    """Return what files define together; their paths are relative to `base`. Raises InputError."""
    known = _environment(around)
    try:
        model = _model(files, known, around.access)
        _check_consistency(model)
    except InputError as error:
        raise _told(error) from error
    reader = _Reader(around.access, files[0].tree, known)
    targets: dict[str, Target] = {}
    secrets = model.get("secrets") or {}
    for name in sorted(model["services"]):
        service = model["services"][name] or {}
        if service.get("build") is None:
            continue
        label = sanitized(name)
        try:
            check_name(label)
        except InputError as error:
            raise InputError(f"invalid service name {quote(label)}: {error}") from None
        target = service_target(service, secrets, reader.service_environment(service), known)
        bases = Bases(
            default=base,
            context=base if target.context is not None else None,
            contexts=dict.fromkeys(target.contexts or {}, base),
        )
        target = replace(target, name=label, bases=bases)
        # Two services may have one name, once dots are gone.
        targets[label] = targets[label].merged(target) if label in targets else target
    groups = (Group(name="default", targets=tuple(targets)),) if model["services"] else ()
    return Config(targets=tuple(targets.values()), groups=groups)


def _told(error: InputError) -> InputError:
    return InputError(f"failed to parse compose file: {error}", hint=error.hint, place=error.place)


def _environment(around: Surroundings) -> dict[str, str]:
    """Return the variables that files may use: those of `.env`, over them the environment's, then `--var`."""
    found: dict[str, str] = {}
    environ, directory = around.readable, around.directory
    if directory is not None:
        found = read_dotenv(".env", around.access.environment_file(directory), environ)
    return {"COMPOSE_PROJECT_NAME": "bake", **found, **environ, **around.variables}


def _model(files: Sequence[File], environ: Mapping[str, str], access: Access) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for file in files:
        reader = _Reader(access, file.tree, environ)
        for document in documents(file.name, file.text):
            whole = reader.with_document(whole, document, ())
    if not whole:
        raise InputError("empty compose file")
    services = whole.get("services")
    found: dict[str, Any] = {}
    if isinstance(services, dict):
        found["services"] = {
            name: {each: service[each] for each in _SERVICE_FIELDS if each in service}
            if isinstance(service, dict)
            else {}
            for name, service in services.items()
            if service is None or isinstance(service, dict)
        }
    if "secrets" in whole:
        found["secrets"] = whole["secrets"]
    if not found:
        raise InputError("empty compose file")
    check_services(found)
    found.setdefault("services", {})
    return found


class _Reader:
    """Reads what files of Compose name: other files, and files of variables. Paths are those of `tree`, if there is one."""

    def __init__(self, access: Access, tree: Tree | None, environ: Mapping[str, str]) -> None:
        self._access = access
        self._tree = tree
        self._environ = environ

    def with_document(
        self, whole: dict[str, Any], document: Any, included: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return a project with a document over it, and with what that includes below it. Raises InputError."""
        if not isinstance(document, dict):
            raise InputError("top-level object must be a mapping")
        document = interpolate(document, self._environ)
        for each in _includes(document):
            if each in included:
                raise InputError(f"include cycle detected:\n{included[0]}\n include {each}")
            for inner in documents(each, self._read(each, "file of Compose")):
                whole = self.with_document(whole, inner, (*included, each))
        services = document.get("services")
        if isinstance(services, dict):
            document = {**document, "services": extended(services, self._services)}
        return merged(whole, document)

    def _services(self, name: str) -> dict[str, Any]:
        inner: dict[str, Any] = {}
        for part in documents(name, self._read(name, "file of Compose")):
            inner = merged(inner, interpolate(part, self._environ))
        found = inner.get("services") or {}
        assert isinstance(found, dict)
        return found

    def _read(self, name: str, kind: str) -> str:
        return self._access.read(name, self._tree, kind).decode("utf-8", "surrogateescape")

    def service_environment(self, service: Mapping[str, Any]) -> dict[str, str | None]:
        """Return what a service's containers would have in their environment, which null arguments take."""
        found: dict[str, str | None] = {}
        for each in sequence(service.get("env_file")):
            path, required = (
                (each.get("path"), each.get("required", True))
                if isinstance(each, dict)
                else (each, True)
            )
            path = posixpath.normpath(str(path))
            if not self._access.exists(path, self._tree):
                if required:
                    raise InputError(
                        f"env file {path} not found: stat {path}: no such file or directory"
                    )
                continue
            text = self._read(path, "file of variables")
            found.update(read_dotenv(path, text, self._environ))
        for each in sequence(service.get("environment")):
            name, equals, value = str(each).partition("=")
            found[name] = value if equals else self._environ.get(name)
        return found


def _includes(document: Mapping[str, Any]) -> list[str]:
    """Return the files that a document includes."""
    found: list[str] = []
    for each in sequence(document.get("include")):
        paths = each.get("path") if isinstance(each, dict) else each
        found += [str(path) for path in sequence(paths)]
    return found


def _check_consistency(model: Mapping[str, Any]) -> None:
    secrets = model.get("secrets") or {}
    for name, secret in secrets.items():
        fields = secret if isinstance(secret, dict) else {}
        if not fields.get("external") and not {"file", "environment"} & fields.keys():
            if any(key.startswith("x-") or key == "driver" for key in fields):
                continue
            raise InputError(
                f"secret {quote(name)} must declare either `file` or `environment`: {_INVALID}"
            )
    for name, service in model["services"].items():
        build = service.get("build")
        if build is None and not service.get("image"):
            raise InputError(
                f"service {quote(name)} has neither an image nor a build context specified: {_INVALID}"
            )
        if isinstance(build, dict):
            _check_build(name, build, model["services"])
        for each in sequence(build.get("secrets") if isinstance(build, dict) else None):
            source = each.get("source") if isinstance(each, dict) else each
            if source not in secrets:
                raise InputError(
                    f"service {quote(name)} refers to undefined build secret {source}: {_INVALID}"
                )


def _check_build(name: str, build: Mapping[str, Any], services: Mapping[str, Any]) -> None:
    """Raise InputError for a section that says two things, or names a service that isn't built."""
    if build.get("dockerfile") and build.get("dockerfile_inline"):
        raise InputError(
            f"service {quote(name)} declares mutualy exclusive dockerfile and dockerfile_inline: {_INVALID}"
        )
    for each in sequence(build.get("additional_contexts")):
        context, _, value = str(each).partition("=")
        other = value.removeprefix("service:")
        if other == value or (services.get(other) or {}).get("build") is not None:
            continue
        kind = "non-buildable" if other in services else "unknown"
        near = suggestion(other, services) if other not in services else ""
        raise InputError(
            f"service {quote(name)} declares {kind} service {quote(other)} as additional contexts {context}{near}"
        )
