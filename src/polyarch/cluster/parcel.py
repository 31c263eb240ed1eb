"""What of a request is on the client's machine, made ready to go to workers: contexts, secrets, credentials."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from polyarch.cluster.packing import Archive, archive_of
from polyarch.cluster.wire import CONTEXT, DOCKERFILE
from polyarch.errors import ContextNotFound, InputError, PolyarchError
from polyarch.oci.base import IMAGE_SCHEME
from polyarch.oci.reference import parse as parse_reference
from polyarch.pattern import pattern
from polyarch.pipeline.contexts import dockerfile_path, ignore_patterns
from polyarch.record import field, frozen, replace
from polyarch.registry.credentials import HUB_HOSTS, HUB_KEY, Credentials
from polyarch.request.caches import CacheKind
from polyarch.request.values import BuildRequest, CacheEntry, Output, OutputType, is_address
from polyarch.worker.secrets import Secrets, sources_of

__all__ = ["Parcel", "credentials_for", "parcel_of"]

_OUTPUTS_WITH_NAMES = frozenset({OutputType.IMAGE, OutputType.REGISTRY})
_FROM = pattern(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)
_COPIED = pattern(r"\s--from=(\S+)")


@frozen
class Parcel:
    """A request for workers: secrets are in it, and `archives` are what lies here, by the names that a task has for them.

    `dockerfile` is the path of the Dockerfile in its archive, "" where it's fetched or comes as text.
    """

    request: BuildRequest
    archives: Mapping[str, Archive] = field(default_factory=dict)
    dockerfile: str = ""


def parcel_of(request: BuildRequest, environ: Mapping[str, str]) -> Parcel:
    """Look through a request. Raises ContextNotFound, and InputError for what can't leave this machine."""
    _check(request)
    archives: dict[str, Archive] = {}
    dockerfile = ""
    if request.context != "-" and not is_address(request.context):
        root = _directory(request.context)
        path = dockerfile_path(root, request)
        needed, dockerfile = _dockerfile(root, path, request)
        archives[CONTEXT] = archive_of(root, ignore_patterns(root, path, request), needed)
        if dockerfile and not needed:
            archives[DOCKERFILE] = _beside(path)
    for name, value in request.build_contexts.items():
        if is_address(value) or value.startswith(IMAGE_SCHEME):
            continue
        if re.match(r"[a-z-]+:(//)?", value) and not Path(value).is_dir():
            raise InputError(
                f"build context {name}: {value} can't be given to a cluster",
                hint="name a directory, an image of a registry (docker-image://), or an address",
            )
        root = _directory(value, f"failed to get build context {name}: ")
        archives[f":{name}"] = archive_of(root, ignore_patterns(root, None, request))
    secrets = tuple(_read_secrets(request, environ))
    return Parcel(
        request=replace(request, secrets=secrets), archives=archives, dockerfile=dockerfile
    )


def _check(request: BuildRequest) -> None:
    """Raise InputError for what is on this machine only, and can't be lent to others."""
    if request.ssh or request.ssh_keys:
        raise InputError(
            "ssh agents and keys can't be lent to the workers of a cluster",
            hint="have a secret with a key of the repository's own: --secret id=key,src=FILE",
        )
    for entry in (*request.cache_from, *request.cache_to):
        if entry.type == CacheKind.LOCAL:
            raise InputError(
                "a cache of type=local is a directory of this machine, which workers don't have",
                hint="name a registry: type=registry,ref=NAME, or type=steps,ref=NAME",
            )
    for output in request.outputs:
        if output.type == OutputType.DOCKER and not output.destination:
            raise InputError(
                "what a cluster builds can't be loaded yet",
                hint="push it: --push, or write an archive: -o type=docker,dest=FILE",
            )
        if output.attributes.get("tar", "true") not in {"true", "1"}:
            raise InputError(
                "a layout in a directory can't come from a cluster yet",
                hint="write an archive, without tar=false",
            )


def _directory(path: str, before: str = "unable to prepare context: ") -> Path:
    if not Path(path).is_dir():
        raise ContextNotFound(
            f'{before}path "{path}" not found',
            hint="the last argument is the directory of the build context, often a single dot",
        )
    return Path(path)


def _dockerfile(root: Path, path: Path, request: BuildRequest) -> tuple[tuple[str, ...], str]:
    """Return what of a context is needed to read its Dockerfile, nothing if that is elsewhere; and the latter's path."""
    if request.dockerfile == "-":
        return (".dockerignore",), ""
    relative = os.path.relpath(path, root)
    if relative.startswith(".."):
        return (), path.name
    return (relative, f"{relative}.dockerignore", ".dockerignore"), relative


def _beside(path: Path) -> Archive:
    """Return a Dockerfile outside of its context, and the ignore file that goes with it, and nothing else from there."""
    return archive_of(path.parent, ("**",), (path.name, f"{path.name}.dockerignore"))


def _read_secrets(request: BuildRequest, environ: Mapping[str, str]) -> Iterator[object]:
    secrets = Secrets(sources=sources_of(request.secrets), environ=environ)
    for each in request.secrets:
        yield replace(each, value=secrets.find(each.id), path="", env="")


# --- credentials ---


def credentials_for(parcel: Parcel, more: Iterable[str], environ: Mapping[str, str]) -> str:
    """Return, in the form of Docker's `config.json`, who the user is at the registries that a build has to do with.

    Those are the ones that its request and its Dockerfile name, and `more`; "" if the user is nobody at all of them.
    """
    known = Credentials(environ)
    auths: dict[str, dict[str, str]] = {}
    for domain in dict.fromkeys((*_domains(parcel), *more)):
        found = known.find(domain)
        auth = {
            "auth": _basic(found.user, found.password) if found.user else "",
            "identitytoken": found.identity_token,
            "registrytoken": found.registry_token,
        }
        if any(auth.values()):
            key = HUB_KEY if domain in HUB_HOSTS else domain
            auths[key] = {name: value for name, value in auth.items() if value}
    return json.dumps({"auths": auths}) if auths else ""


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _domains(parcel: Parcel) -> Iterator[str]:
    for name in _names(parcel):
        try:
            yield parse_reference(name).domain
        except PolyarchError:
            continue  # a stage, or what only the build can tell


def _names(parcel: Parcel) -> Iterator[str]:
    request = parcel.request
    for output in request.outputs:
        yield from _named_by(output)
    for entry in (*request.cache_from, *request.cache_to):
        yield _cache_name(entry)
    for value in request.build_contexts.values():
        if value.startswith(IMAGE_SCHEME):
            yield value.removeprefix(IMAGE_SCHEME)
    text = _dockerfile_text(parcel)
    yield from _FROM.findall(text)
    yield from _COPIED.findall(text)


def _named_by(output: Output) -> list[str]:
    if output.type not in _OUTPUTS_WITH_NAMES:
        return []
    return [name for name in output.attributes.get("name", "").split(",") if name]


def _cache_name(entry: CacheEntry) -> str:
    return entry.attributes.get("ref", "")


def _dockerfile_text(parcel: Parcel) -> str:
    archive = parcel.archives.get(DOCKERFILE) or parcel.archives.get(CONTEXT)
    if archive is None or not parcel.dockerfile:
        return parcel.request.stdin.decode(errors="replace")
    try:
        return (archive.root / parcel.dockerfile).read_text(errors="replace")
    except OSError:
        return ""  # said by the build, in its own words
