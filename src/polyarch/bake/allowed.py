"""`--allow`: what a definition may do beyond building with files below the current directory.

Source: documentation of `docker buildx bake --allow`, and behaviour of buildx.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from polyarch.bake.config import Plan
from polyarch.bake.target import Target
from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import find_bool, parse_bool, quote
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.record import frozen
from polyarch.request.values import is_address
from polyarch.text.nearest import suggestion

__all__ = ["Allowed", "Missing", "missing", "read_allowed"]

_DELETE = "buildx.local.delete"
_KEYS = ("network.host", "security.insecure", "device", "fs.read", "fs.write", "fs", "image.push", "image.load", "image", "ssh", _DELETE)  # fmt: skip
_ELSEWHERE = ("target:", "docker-image:")


@frozen
class Allowed:
    """What was allowed on the command line; "*" among paths is every path, "" among devices every device."""

    network_host: bool = False
    security_insecure: bool = False
    ssh: bool = False
    local_delete: bool = False
    devices: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@frozen
class Missing:
    """What a plan needs and wasn't allowed: in words, and as values of `--allow`."""

    reasons: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


def read_allowed(values: Sequence[str]) -> Allowed:
    """Read the values of `--allow`. Raises InputError."""
    switches: set[str] = set()
    devices: list[str] = []
    reads: list[str] = []
    writes: list[str] = []
    for value in values:
        key, equals, setting = value.partition("=")
        if key in {"network.host", "security.insecure", "ssh", _DELETE}:
            if equals:
                if key == _DELETE:
                    raise InputError(f"{_DELETE} does not accept a value")
                raise InputError(f"unknown entitlement key {quote(key)}")
            switches.add(key)
        elif key == "device":
            devices.append(csv_fields(setting)[0] if setting else "")
        elif key not in _KEYS:
            near = suggestion(key, _KEYS)
            raise InputError(f"unknown entitlement key {quote(key)}{near}")
        if key in {"fs", "fs.read"}:
            reads.append(setting)
        if key in {"fs", "fs.write"}:
            writes.append(setting)
    return Allowed(
        network_host="network.host" in switches,
        security_insecure="security.insecure" in switches,
        ssh="ssh" in switches,
        local_delete=_DELETE in switches,
        devices=tuple(devices),
        reads=tuple(reads),
        writes=tuple(writes),
    )


def missing(
    plan: Plan, allowed: Allowed, environ: Mapping[str, str], *, is_remote: bool
) -> Missing:
    """Return what wasn't allowed; paths below the current directory always are. Raises InputError."""
    targets = tuple(plan.targets.values())
    found: dict[str, str] = {}
    wanted = {each for target in targets for each in target.entitlements or ()}
    if "network.host" in wanted and not allowed.network_host:
        found["network.host"] = "Running build containers that can access host network"
    if "security.insecure" in wanted and not allowed.security_insecure:
        found["security.insecure"] = "Running privileged containers that can make system changes"
    for each in sorted(wanted):
        key, _equals, device = each.partition("=")
        if key == "device" and "" not in allowed.devices and device not in allowed.devices:
            found[each] = f"Access to device {device}" if device else "Access to CDI devices"
    if not allowed.local_delete and any(map(_deletes, targets)):
        found[_DELETE] = "Deleting stale files from local output destinations"
    if _checks_files(environ, is_remote=is_remote):
        found |= _missing_files(targets, allowed)
    return Missing(reasons=tuple(f" - {reason}" for reason in found.values()), values=tuple(found))


def _deletes(target: Target) -> bool:
    return any(each.attributes.get("mode") == "delete" for each in target.output or ())


def _checks_files(environ: Mapping[str, str], *, is_remote: bool) -> bool:
    name = "BUILDX_BAKE_ENTITLEMENTS_FS"
    if name in environ:
        return _truth(name, environ[name])
    name = "BAKE_ALLOW_REMOTE_FS_ACCESS"
    return not (is_remote and name in environ and _truth(name, environ[name]))


def _truth(name: str, text: str) -> bool:
    if find_bool(text) is None:
        try:
            parse_bool(text)
        except InputError as error:
            raise InputError(f"failed to parse {name} value {quote(text)}: {error}") from None
    return bool(find_bool(text))


def _missing_files(targets: Sequence[Target], allowed: Allowed) -> dict[str, str]:
    found: dict[str, str] = {}
    agents = [each for target in targets for each in target.ssh or ()]
    if not allowed.ssh and any(not each.paths for each in agents):
        found["ssh"] = "Forwarding default SSH agent socket"
    reads = _outside((path for each in targets for path in _read_paths(each)), allowed.reads)
    writes = _outside((path for each in targets for path in _written_paths(each)), allowed.writes)
    for path in sorted({*reads, *writes}):
        shown = _shown(path)
        if path in reads and path in writes:
            found[f"fs={shown}"] = f"Read and write access to path {shown}"
        elif path in reads:
            found[f"fs.read={shown}"] = f"Read access to path {shown}"
        else:
            found[f"fs.write={shown}"] = f"Write access to path {shown}"
    return found


def _read_paths(target: Target) -> Iterable[str]:
    context = (target.context or ".").removeprefix("cwd://") or "."
    if not is_address(context):
        yield context
        yield os.path.join(context, (target.dockerfile or "Dockerfile").removeprefix("cwd://"))
    for value in (target.contexts or {}).values():
        yield from _context_path(value)
    caches = (each for each in target.cache_from or () if each.type == "local")
    yield from (each.attributes["src"] for each in caches if each.attributes.get("src"))
    yield from (each.path or each.id for each in target.secret or () if each.path or not each.env)
    for agent in target.ssh or ():
        yield from agent.paths


def _context_path(value: str) -> Iterable[str]:
    """Yield what a named context reads of this machine."""
    if value.startswith(LAYOUT_SCHEME):
        yield value.removeprefix(LAYOUT_SCHEME).partition("@")[0].partition(":")[0]
    elif not value.startswith(_ELSEWHERE) and not is_address(value):
        yield value.removeprefix("cwd://") or "."


def _written_paths(target: Target) -> Iterable[str]:
    for each in target.output or ():
        if each.destination and each.destination != "-":
            yield each.destination
    for cache in target.cache_to or ():
        if cache.type == "local" and cache.attributes.get("dest"):
            yield cache.attributes["dest"]


def _outside(paths: Iterable[str], allowed: Sequence[str]) -> set[str]:
    """Return the paths that aren't below the current directory or an allowed one, links followed."""
    if "*" in allowed:
        return set()
    roots = [os.path.realpath(each) for each in (".", *allowed) if each]
    return {real for real in map(os.path.realpath, paths) if not _is_below(real, roots)}


def _is_below(path: str, roots: Iterable[str]) -> bool:
    return any(root in {path, "/"} or path.startswith(f"{root}/") for root in roots)


def _shown(path: str) -> str:
    """Return a path relative to the current directory, if it is no more than one directory up."""
    relative = os.path.relpath(path)
    return path if relative.startswith("../..") else relative
