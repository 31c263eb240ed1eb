"""What a build is asked for, in the words of BuildKit's Dockerfile frontend: `target`, `build-arg:NAME`, ...

Daemons are asked in these words, and records and attestations of builds tell in them what was asked for.

Source: buildx's `build/opt.go` and `build/utils.go`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.platforms import format_all
from polyarch.request.limits import Resources
from polyarch.request.values import BuildRequest, is_address
from polyarch.text.secretname import looks_secret, without_login

__all__ = ["FRONTEND", "MULTI_PLATFORM_ARG", "frontend_attributes", "hide_secrets"]

FRONTEND = "dockerfile.v0"
"""What BuildKit's API calls the Dockerfile frontend that a daemon has."""
MULTI_PLATFORM_ARG = "BUILDKIT_MULTI_PLATFORM"
"""The build argument that asks for an index, even for one platform."""

_HIDDEN = "xxxxx"
_ARGUMENT = "build-arg:"


def hide_secrets(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return attributes that may be published: build arguments that look secret are `xxxxx`, as logins in addresses are."""
    return {name: _published(name, value) for name, value in attributes.items()}


def _published(name: str, value: str) -> str:
    argument = name.removeprefix(_ARGUMENT)
    return _HIDDEN if argument != name and looks_secret(argument, value) else without_login(value)


def frontend_attributes(request: BuildRequest) -> dict[str, str]:
    """Return what `request` asks for, by the frontend's names; what it doesn't ask for is left out."""
    plain = {name: value for name, value in _plain(request) if value}
    if request.no_cache or request.no_cache_filter:
        plain["no-cache"] = ",".join(request.no_cache_filter)
    arguments = {f"{_ARGUMENT}{name}": value for name, value in request.build_args.items()}
    labels = {f"label:{name}": value for name, value in request.labels.items()}
    contexts = {f"context:{n}": _context(n, at) for n, at in request.build_contexts.items()}
    return {**plain, **_limits(request.resources), **arguments, **labels, **contexts, **request.vcs}


def _plain(request: BuildRequest) -> Iterator[tuple[str, str]]:
    yield "context", request.context if is_address(request.context) else ""
    yield "filename", _filename(request)
    yield "target", request.target
    yield "platform", ",".join(map(format_all, request.platforms))
    yield "force-network-mode", "" if request.network == "default" else request.network
    yield "image-resolve-mode", "pull" if request.pull else ""
    yield "add-hosts", ",".join(_hosts(request.add_hosts))
    yield "shm-size", str(request.shm_size or "")
    yield "ulimit", ",".join(f"{each.name}={each.soft}:{each.hard}" for each in request.ulimits)
    yield "cgroup-parent", request.cgroup_parent


def _filename(request: BuildRequest) -> str:
    """Return the Dockerfile's name: of a local one without the directory, which is given for itself."""
    if not request.dockerfile or request.dockerfile == "-":
        return "Dockerfile"
    if is_address(request.context):
        return request.dockerfile
    return os.path.basename(request.dockerfile)


def _limits(resources: Resources) -> dict[str, str]:
    found = {
        "memory": resources.memory,
        "memswap": resources.memory_swap,
        "cpushares": resources.cpu_shares,
        "cpuperiod": resources.cpu_period,
        "cpuquota": resources.cpu_quota,
        "cpusetcpus": resources.cpuset_cpus,
        "cpusetmems": resources.cpuset_mems,
    }
    return {name: str(value) for name, value in found.items() if value}


def _context(name: str, value: str) -> str:
    """Return where a named context is; a directory has a name only, and so has what another target of a bake makes."""
    if value.startswith("target:"):
        return f"input:{value.removeprefix('target:')}"
    if is_address(value) or value.startswith((IMAGE_SCHEME, LAYOUT_SCHEME)):
        return value
    return f"local:_{name}" if name in {"context", "dockerfile"} else f"local:{name}"


def _hosts(entries: Iterable[str]) -> Iterator[str]:
    """Yield an entry for each address of a host, as daemons read them."""
    for entry in entries:
        name, separator, addresses = entry.partition("=")
        yield from (f"{name}{separator}{address}" for address in addresses.split(","))
