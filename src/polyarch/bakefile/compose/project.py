"""Compose files -> targets: each service with a `build` section is one, and `default` holds them all.

Only what builds is looked at. Source: documentation of Compose and of bake's Compose files, behaviour of buildx.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyarch.bakefile.access import Access, Tree
from polyarch.bakefile.compose.consistency import check_consistency
from polyarch.bakefile.compose.dotenv import read_dotenv
from polyarch.bakefile.compose.interpolate import interpolate
from polyarch.bakefile.compose.merge import extended, merged, sequence
from polyarch.bakefile.compose.placed import fault, name_in, placing, range_of
from polyarch.bakefile.compose.schema import SERVICE_FIELDS, check_services, misspelt
from polyarch.bakefile.compose.services import Declared, service_target
from polyarch.bakefile.compose.yamls import documents
from polyarch.bakefile.config import Config
from polyarch.bakefile.files import File
from polyarch.bakefile.names import check_name, sanitized
from polyarch.bakefile.target import Bases, Group, Target
from polyarch.errors import BakeFileError, InputError
from polyarch.golang.strconv import quote
from polyarch.graph.location import SourceText
from polyarch.record import replace

if TYPE_CHECKING:
    from polyarch.bakefile.definition import Surroundings

__all__ = ["check_compose", "read_compose"]


def check_compose(file: File, around: Surroundings) -> None:
    """Raise InputError unless a file is one of Compose, which others may have to complete."""
    _model([file], _environment(around), around.access)


def read_compose(files: Sequence[File], around: Surroundings, base: str | None) -> Config:
    """Return what files define together; their paths are relative to `base`. Raises InputError."""
    known = _environment(around)
    try:
        model = _model(files, known, around.access)
        check_consistency(model)
    except InputError as error:
        raise _told(error) from error
    reader = _Reader(around.access, files[0].tree, known)
    targets: dict[str, Target] = {}
    for name in sorted(model["services"]):
        service = model["services"][name] or {}
        if service.get("build") is None:
            continue
        with placing(name):
            label = _label(name)
            declared = Declared(
                secrets=model.get("secrets") or {},
                environment=reader.service_environment(service),
                known=known,
            )
            target = service_target(service, declared)
        bases = Bases(
            default=base,
            context=base if target.context is not None else None,
            contexts=dict.fromkeys(target.contexts or {}, base),
        )
        at = range_of(name)
        places = {**target.places, "": at} if at is not None else target.places
        target = replace(target, name=label, bases=bases, places=places)
        # Two services may have one name, once dots are gone.
        targets[label] = targets[label].merged(target) if label in targets else target
    groups = (Group(name="default", targets=tuple(targets)),) if model["services"] else ()
    return Config(targets=tuple(targets.values()), groups=groups, warnings=tuple(model["warnings"]))


def _label(service: str) -> str:
    label = sanitized(str(service))
    try:
        check_name(label)
    except InputError as error:
        raise InputError(f"invalid service name {quote(label)}: {error}") from None
    return label


def _told(error: InputError) -> InputError:
    message = f"failed to parse compose file: {error}"
    return BakeFileError(message, hint=error.hint, place=error.place)


def _environment(around: Surroundings) -> dict[str, str]:
    """Return the variables that files may use: those of `.env`, over them the environment's, then `--var`."""
    found: dict[str, str] = {}
    environ, directory = around.readable, around.directory
    if directory is not None:
        found = read_dotenv(".env", around.access.environment_file(directory), environ)
    return {"COMPOSE_PROJECT_NAME": "bake", **found, **environ, **around.variables}


def _model(files: Sequence[File], environ: Mapping[str, str], access: Access) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    warnings: list[str] = []
    for file in files:
        reader = _Reader(access, file.tree, environ)
        for document in documents(SourceText(name=file.name, text=file.text)):
            whole = reader.with_document(whole, document, ())
            warnings += misspelt(document)
    found: dict[str, Any] = {}
    services = whole.get("services")
    if isinstance(services, dict):
        found["services"] = {
            name: {each: service[each] for each in service if each in SERVICE_FIELDS}
            if isinstance(service, dict)
            else {}
            for name, service in services.items()
            if service is None or isinstance(service, dict)
        }
    if "secrets" in whole:
        found[name_in(whole, "secrets")] = whole["secrets"]
    if not found:
        raise fault("empty compose file", whole)
    check_services(found)
    found.setdefault("services", {})
    found["warnings"] = warnings
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
        document = self._mapping(document)
        for each in _includes(document):
            if each in included:
                raise fault(f"include cycle detected:\n{included[0]}\n include {each}", each)
            for inner in self._documents(each):
                whole = self.with_document(whole, inner, (*included, each))
        services = document.get("services")
        if isinstance(services, dict):
            document = {**document, "services": extended(services, self._services)}
        return merged(whole, document)

    def _mapping(self, document: object) -> dict[str, Any]:
        """Return a document with what its variables stand for. Raises BakeFileError for one that isn't a mapping."""
        if not isinstance(document, dict):
            raise fault("top-level object must be a mapping", document)
        found = interpolate(document, self._environ)
        assert isinstance(found, dict)
        return found

    def _services(self, name: str) -> dict[str, Any]:
        inner: dict[str, Any] = {}
        for part in self._documents(name):
            inner = merged(inner, self._mapping(part))
        found = inner.get("services") or {}
        if not isinstance(found, dict):
            raise fault("services must be a mapping", name_in(inner, "services"))
        return found

    def _documents(self, name: str) -> list[Any]:
        """Return the documents of a file that another one names, whose place an error has that has no nearer one."""
        with placing(name):
            text = self._read(name, "file of Compose")
            shown = f"{self._tree.address} {name}" if self._tree is not None else str(name)
            return documents(SourceText(name=shown, text=text))

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
                    raise fault(
                        f"env file {path} not found: stat {path}: no such file or directory", each
                    )
                continue
            with placing(each):
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
        found += [path if isinstance(path, str) else str(path) for path in sequence(paths)]
    return found
