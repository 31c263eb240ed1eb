"""`--allow`: what a definition may do beyond building with files below the current directory.

Source: documentation of `docker buildx bake --allow`, and behaviour of buildx.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from polyarch.bakefile.config import Plan
from polyarch.bakefile.entries import parse_caches, parse_export, parse_secret, parse_ssh
from polyarch.bakefile.target import Target
from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import find_bool, parse_bool, quote
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.record import frozen, replace
from polyarch.request.values import is_address
from polyarch.text.nearest import suggestion

__all__ = [
    "LOCAL_DELETE",
    "Allowed",
    "Missing",
    "checks_files",
    "lacking_reads",
    "missing",
    "read_allowed",
    "with_changes",
]

LOCAL_DELETE = "buildx.local.delete"
"""The entitlement of outputs that delete what else is in a directory."""
_KEYS = ("network.host", "security.insecure", "device", "fs.read", "fs.write", "fs", "image.push", "image.load", "image", "ssh", "include", LOCAL_DELETE)  # fmt: skip
_PRIVILEGES = {
    "network.host": "Running build containers that can access host network",
    "security.insecure": "Running privileged containers that can make system changes",
}
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
    includes: tuple[str, ...] = ()


@frozen
class Missing:
    """What is needed and wasn't allowed: in words, and as values of `--allow`.

    `with_files` says that some of it are files and agents, which aren't checked where that is turned off.
    """

    reasons: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    with_files: bool = False


def read_allowed(values: Sequence[str]) -> Allowed:
    """Read the values of `--allow`. Raises InputError."""
    switches: set[str] = set()
    devices: list[str] = []
    reads: list[str] = []
    writes: list[str] = []
    includes: list[str] = []
    for value in values:
        key, equals, setting = value.partition("=")
        if key in {"network.host", "security.insecure", "ssh", LOCAL_DELETE}:
            if equals:
                if key == LOCAL_DELETE:
                    raise InputError(f"{LOCAL_DELETE} does not accept a value")
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
        if key == "include":
            includes.append(setting)
    return Allowed(
        network_host="network.host" in switches,
        security_insecure="security.insecure" in switches,
        ssh="ssh" in switches,
        local_delete=LOCAL_DELETE in switches,
        devices=tuple(devices),
        reads=tuple(reads),
        writes=tuple(writes),
        includes=tuple(filter(None, includes)),
    )


def with_changes(allowed: Allowed, changes: Sequence[str]) -> Allowed:
    """Return what is allowed once the user has said `--set`: files, agents and privileges that are named there are, too.

    But contexts, as with buildx. Raises InputError for what isn't understood.
    """
    reads, writes = list(allowed.reads), list(allowed.writes)
    privileges: set[str] = set()
    for change in changes:
        key, _, value = change.partition("=")
        _, _, name = key.removesuffix("+").partition(".")
        if name == "entitlements":
            privileges.add(value)
        elif value:
            # `secret.ID=` is one secret of several.
            kind = "secrets" if name.startswith("secret.") else name
            reads += _READ_BY_CHANGES.get(kind, _nothing)(value)
            writes += _WRITTEN_BY_CHANGES.get(kind, _nothing)(value)
    return replace(
        allowed,
        network_host=allowed.network_host or "network.host" in privileges,
        security_insecure=allowed.security_insecure or "security.insecure" in privileges,
        reads=tuple(filter(None, reads)),
        writes=tuple(filter(None, writes)),
    )


def _nothing(_value: str) -> Iterable[str]:
    return ()


def _caches(attribute: str) -> Callable[[str], Iterable[str]]:
    return lambda value: [each.attributes.get(attribute, "") for each in parse_caches(value)]


_READ_BY_CHANGES: Mapping[str, Callable[[str], Iterable[str]]] = {
    "cache-from": _caches("src"),
    "ssh": lambda value: parse_ssh(value).paths,
    "secrets": lambda value: [parse_secret(value).path],
}
_WRITTEN_BY_CHANGES: Mapping[str, Callable[[str], Iterable[str]]] = {
    "cache-to": _caches("dest"),
    "output": lambda value: [parse_export(value).destination],
}


def missing(
    plan: Plan, allowed: Allowed, environ: Mapping[str, str], *, is_remote: bool
) -> Missing:
    """Return what wasn't allowed; paths below the current directory always are. Raises InputError."""
    targets = tuple(plan.targets.values())
    found = {**_missing_privileges(targets, allowed), **_missing_devices(targets, allowed)}
    if not allowed.local_delete and any(map(_deletes, targets)):
        found[LOCAL_DELETE] = "Deleting stale files from local output destinations"
    files = {}
    if checks_files(environ, is_remote=is_remote):
        files = {**_missing_agents(targets, allowed), **_missing_files(targets, allowed)}
    return _told({**found, **files}, with_files=bool(files))


def _wanted(targets: Iterable[Target]) -> list[str]:
    return sorted({each for target in targets for each in target.entitlements or ()})


def _missing_privileges(targets: Iterable[Target], allowed: Allowed) -> dict[str, str]:
    given = {
        "network.host": allowed.network_host,
        "security.insecure": allowed.security_insecure,
    }
    return {
        each: _PRIVILEGES[each]
        for each in _wanted(targets)
        if each in _PRIVILEGES and not given[each]
    }


def _missing_devices(targets: Iterable[Target], allowed: Allowed) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in _wanted(targets):
        key, _equals, device = each.partition("=")
        if key == "device" and not {"", device} & set(allowed.devices):
            found[each] = f"Access to device {device}" if device else "Access to CDI devices"
    return found


def _missing_agents(targets: Iterable[Target], allowed: Allowed) -> dict[str, str]:
    agents = [each for target in targets for each in target.ssh or ()]
    if allowed.ssh or all(each.paths for each in agents):
        return {}
    return {"ssh": "Forwarding default SSH agent socket"}


def _missing_files(targets: Sequence[Target], allowed: Allowed) -> dict[str, str]:
    reads = _outside(chain.from_iterable(map(_read_paths, targets)), allowed.reads)
    writes = _outside(chain.from_iterable(map(_written_paths, targets)), allowed.writes)
    both = set(reads) & set(writes)
    groups = (
        ("fs", "Read and write", [path for path in reads if path in both]),
        ("fs.read", "Read", [path for path in reads if path not in both]),
        ("fs.write", "Write", [path for path in writes if path not in both]),
    )
    return {
        f"{key}={path}": f"{kind} access to path {path}"
        for key, kind, paths in groups
        for path in map(_shown, paths)
    }


def lacking_reads(paths: Iterable[str], allowed: Allowed) -> Missing:
    """Return those of the paths that weren't allowed to be read."""
    found = _outside(paths, allowed.reads)
    reasons = {f"fs.read={_shown(each)}": f"Read access to path {_shown(each)}" for each in found}
    return _told(reasons, with_files=bool(found))


def _told(found: Mapping[str, str], *, with_files: bool) -> Missing:
    reasons = tuple(f" - {reason}" for reason in found.values())
    return Missing(reasons=reasons, values=tuple(found), with_files=with_files)


def _deletes(target: Target) -> bool:
    return any(each.attributes.get("mode") == "delete" for each in target.output or ())


def checks_files(environ: Mapping[str, str], *, is_remote: bool) -> bool:
    """Tell whether files have to be allowed. Raises InputError for a variable that isn't a truth value."""
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


def _read_paths(target: Target) -> Iterable[str]:
    """Yield what a target reads of this machine."""
    return chain.from_iterable(reads(target) for reads in _READS)


def _context(target: Target) -> str:
    return (target.context or ".").removeprefix("cwd://") or "."


def _read_by_context(target: Target) -> Iterable[str]:
    context = _context(target)
    if not is_address(context):
        yield context


def _read_as_dockerfile(target: Target) -> Iterable[str]:
    context = _context(target)
    dockerfile = target.dockerfile or "Dockerfile"
    if dockerfile.startswith("cwd://"):
        yield dockerfile.removeprefix("cwd://")
    elif is_address(context):
        if os.path.isabs(dockerfile):
            yield dockerfile  # beside a context that is elsewhere, it is one of this machine
    elif not is_address(dockerfile):
        yield os.path.join(context, dockerfile)


def _read_by_contexts(target: Target) -> Iterable[str]:
    return chain.from_iterable(map(_context_path, (target.contexts or {}).values()))


def _read_by_caches(target: Target) -> Iterable[str]:
    caches = (each for each in target.cache_from or () if each.type == "local")
    return filter(None, (each.attributes.get("src") for each in caches))


def _read_by_secrets(target: Target) -> Iterable[str]:
    return (each.path or each.id for each in target.secret or () if each.path or not each.env)


def _read_by_agents(target: Target) -> Iterable[str]:
    return chain.from_iterable(agent.paths for agent in target.ssh or ())


_READS = (
    _read_by_context,
    _read_as_dockerfile,
    _read_by_contexts,
    _read_by_caches,
    _read_by_secrets,
    _read_by_agents,
)


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


def _outside(paths: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """Return the paths that aren't below the current directory or an allowed one, links followed, sorted.

    Of what isn't there yet the directory counts that is, even if it was allowed itself: somebody could still put a link
    there. Of paths within one another the outer one is told.
    """
    if "*" in allowed:
        return []
    roots = [os.path.realpath(each) for each in (".", *allowed) if each]
    wanted = {_existing(os.path.realpath(each)) for each in paths}
    outside = [each for each in wanted if not _is_below(each, roots)]
    found: list[str] = []
    for path in sorted(outside, key=lambda each: (len(each), each)):
        if not _is_below(path, found):
            found.append(path)
    return sorted(found)


def _existing(path: str) -> str:
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _is_below(path: str, roots: Iterable[str]) -> bool:
    return any(root in {path, "/"} or path.startswith(f"{root}/") for root in roots)


def _shown(path: str) -> str:
    """Return a path relative to the current directory, if it is no more than one directory up."""
    relative = os.path.relpath(path, os.path.realpath("."))
    return path if relative.startswith("../..") else relative
