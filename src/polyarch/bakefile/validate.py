"""What `--print` looks at beyond the definition: files of secrets, agents of ssh, outputs, platforms, sizes.

Source: behaviour of buildx's `TargetsToBuildOpt`, which it runs before it prints.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from polyarch.bakefile.entries import Export, Ssh
from polyarch.bakefile.target import Target
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.golang.units import ram_in_bytes
from polyarch.pattern import pattern
from polyarch.platforms import parse as parse_platform
from polyarch.request.limits import parse_ulimit
from polyarch.request.secretfile import check_secret_file

__all__ = ["check_target"]


_ANNOTATION = pattern(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?\Z")
_SSH = pattern(r"ssh://|[^/]*@[^/]*:(?!//)")
_ARCHIVES = frozenset({"oci", "docker", "tar"})
_ANNOTATED = ("index", "index-descriptor", "manifest", "manifest-descriptor")


def check_target(target: Target, environ: Mapping[str, str]) -> None:
    """Raise InputError for what can't be built, whatever the Dockerfile says, with its place."""
    checks: tuple[tuple[str, Callable[[], None]], ...] = (
        ("context", lambda: _check_standard_input("context", target.context)),
        ("dockerfile", lambda: _check_standard_input("dockerfile", target.dockerfile)),
        ("shm-size", lambda: _check_size(target.shm_size)),
        ("platforms", lambda: _check_platforms(target.platforms or ())),
        ("secret", lambda: _check_secrets(target, environ)),
        ("ssh", lambda: _check_agents(target, environ)),
        ("output", lambda: _check_outputs(target.output or ())),
        ("annotations", lambda: _check_annotations(target.annotations or ())),
        ("resources", lambda: _check_limits(target)),
        ("ulimits", lambda: _check_ulimits(target.ulimits or ())),
    )
    for attribute, check in checks:
        try:
            check()
        except InputError as error:
            error.place = error.place or target.place(attribute)
            raise


def _check_standard_input(name: str, value: str | None) -> None:
    if value == "-":
        raise InputError(f"{name} from stdin not allowed in bake")


def _check_platforms(platforms: tuple[str, ...]) -> None:
    for each in platforms:
        for platform in each.split(","):
            if platform != "local":
                parse_platform(platform)


def _check_ulimits(ulimits: tuple[str, ...]) -> None:
    for each in ulimits:
        parse_ulimit(each)


def _check_size(text: str | None) -> None:
    if text is None:
        return
    try:
        ram_in_bytes(text)
    except InputError:
        raise InputError(f"invalid value {text} for membytes key shm-size") from None


def _check_secrets(target: Target, environ: Mapping[str, str]) -> None:
    for each in target.secret or ():
        if not each.id:
            raise InputError("secret missing ID")
        path = each.path
        if not path and not each.env and each.id not in environ:
            path = each.id
        if path:
            check_secret_file(each.id, path)


def _check_agents(target: Target, environ: Mapping[str, str]) -> None:
    agents = target.ssh or ()
    if not agents and _SSH.match(target.context or ""):
        agents = (Ssh(id="default"),)
    for each in agents:
        shown = f"{{{each.id or 'default'} [{' '.join(each.paths)}] false}}"
        before = f"failed to convert agent config {shown}: "
        paths = each.paths or (environ.get("SSH_AUTH_SOCK", ""),)
        if not all(paths):
            raise InputError(
                f"{before}invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
            )
        before += f'failed to convert agent config for ID: "{each.id or "default"}": '
        for path in paths:
            if not _is_socket(path, before):
                _check_key(path, before)
            elif len(paths) > 1:
                raise InputError(f"{before}only single socket allowed")


def _is_socket(path: str, before: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InputError(f"{before}stat {path}: {reason}") from error


def _check_key(path: str, before: str) -> None:
    try:
        beginning = Path(path).read_bytes()[: 100 << 10]
    except OSError as error:
        raise InputError(f"{before}failed to read {path}: {error.strerror}") from error
    if b"-----BEGIN " not in beginning:
        raise InputError(f"{before}failed to parse {path}: ssh: no key found")


def _check_outputs(outputs: tuple[Export, ...]) -> None:
    for each in outputs:
        _check_destination(each.type, each.destination)
    if sum(map(_is_to_stdout, outputs)) > 1:
        raise InputError("multiple outputs to stdout")


def _is_to_stdout(output: Export) -> bool:
    return output.destination == "-" or (not output.destination and output.type in {"oci", "tar"})


def _check_destination(kind: str, destination: str) -> None:
    if kind == "local":
        if not destination:
            raise InputError("dest is required for local exporter")
        if destination == "-":
            raise InputError("dest cannot be stdout for local exporter")
        if os.path.exists(destination) and not os.path.isdir(destination):
            raise InputError(f"destination directory {destination} is a file")
    elif kind in _ARCHIVES and destination not in {"", "-"} and os.path.isdir(destination):
        raise InputError(f"destination file {destination} is a directory")


def _check_annotations(annotations: tuple[str, ...]) -> None:
    for each in annotations:
        name, equals, _value = each.partition("=")
        if not equals:
            raise InputError(f"invalid annotation {quote(each)}, expected key=value")
        kinds, colon, _key = name.partition(":")
        for kind in kinds.split(",") if colon else ():
            match = _ANNOTATION.match(kind)
            if match is None:
                raise InputError(
                    f"invalid annotation type {quote(kind)}, expected type and optional platform in square brackets"
                )
            if match[1] not in _ANNOTATED:
                raise InputError(f"unknown annotation type {quote(match[1])}")
            if match[2]:
                parse_platform(match[2])


def _check_limits(target: Target) -> None:
    for name in ("memory", "memory-swap"):
        value = (target.resources or {}).get(name)
        if isinstance(value, str) and not (name == "memory-swap" and value == "-1"):
            try:
                ram_in_bytes(value)
            except InputError as error:
                raise InputError(
                    f"invalid value {quote(value)} for resource {name}: {error}"
                ) from None
