"""What a Dockerfile frontend is asked for, in BuildKit's words, as a request of ours.

Source: BuildKit's `frontend/dockerui/config.go` and `attr.go`, `frontend/attestations/parse.go`.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import find_bool, parse_int, quote
from polyarch.platforms import Platform
from polyarch.request.attestation import Attestation
from polyarch.request.frontend import MULTI_PLATFORM_ARG
from polyarch.request.limits import Resources, Ulimit
from polyarch.request.make import read_platforms
from polyarch.request.values import BuildRequest
from polyarch.serve.contexts import Found

__all__ = ["read_request"]

_ARGUMENT, _LABEL, _ATTEST = "build-arg:", "label:", "attest:"
_RESOLVE = {"": False, "default": False, "pull": True, "local": False}
_NETWORKS = {"": "default", "host": "host", "none": "none", "sandbox": "default"}


def read_request(attributes: Mapping[str, str], found: Found) -> BuildRequest:
    """Return the request; outputs, caches and what is allowed aren't in attributes. Raises InputError and its kin."""
    arguments = _prefixed(attributes, _ARGUMENT)
    if (wanted := attributes.get("multi-platform", "")) and MULTI_PLATFORM_ARG not in arguments:
        arguments[MULTI_PLATFORM_ARG] = wanted
    if (name := attributes.get("hostname", "")) and "BUILDKIT_SANDBOX_HOSTNAME" not in arguments:
        arguments["BUILDKIT_SANDBOX_HOSTNAME"] = name
    mode = attributes.get("image-resolve-mode", "")
    if mode not in _RESOLVE:
        raise InputError(f"invalid image-resolve-mode: {mode}")
    network = attributes.get("force-network-mode", "")
    if network not in _NETWORKS:
        raise InputError(f"invalid netmode {network}")
    no_cache = attributes.get("no-cache")
    return BuildRequest(
        context=found.context,
        dockerfile=found.dockerfile,
        stdin=found.stdin,
        platforms=_platforms(attributes.get("platform", "")),
        target=attributes.get("target", ""),
        build_args=arguments,
        build_contexts=found.named,
        labels=_prefixed(attributes, _LABEL),
        no_cache=no_cache == "",
        no_cache_filter=tuple(no_cache.split(",")) if no_cache else (),
        pull=_RESOLVE[mode],
        network=_NETWORKS[network],
        add_hosts=_hosts(attributes.get("add-hosts", "")),
        shm_size=_number("shm size", attributes.get("shm-size", "")),
        ulimits=tuple(map(_ulimit, csv_fields(attributes.get("ulimit", ""))))
        if attributes.get("ulimit")
        else (),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        resources=_resources(attributes),
        attestations=tuple(_attestations(attributes)),
        vcs={name: value for name, value in attributes.items() if name.startswith("vcs:")},
    )


def _prefixed(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }


def _platforms(text: str) -> tuple[Platform, ...]:
    return read_platforms((text,)) if text else ()


def _hosts(text: str) -> tuple[str, ...]:
    fields = tuple(each.lower() for each in csv_fields(text)) if text else ()
    for each in fields:
        if "=" not in each:
            raise InputError(f"failed to parse additional hosts: invalid key-value pair {each}")
    return fields


def _number(what: str, text: str) -> int:
    try:
        return parse_int(text) if text else 0
    except InputError as error:
        raise InputError(f"failed to parse {what}: {error}") from error


def _ulimit(text: str) -> Ulimit:
    name, equals, limits = text.partition("=")
    soft, colon, hard = limits.partition(":")
    if not equals:
        raise InputError(f"failed to parse ulimit: invalid ulimit argument: {text}")
    first = _number("ulimit", soft)
    return Ulimit(name=name, soft=first, hard=_number("ulimit", hard) if colon else first)


def _resources(attributes: Mapping[str, str]) -> Resources:
    def number(name: str) -> int:
        return _number("resource limits", attributes.get(name, ""))

    return Resources(
        memory=number("memory"),
        memory_swap=number("memswap"),
        cpu_shares=number("cpushares"),
        cpu_period=number("cpuperiod"),
        cpu_quota=number("cpuquota"),
        cpuset_cpus=attributes.get("cpusetcpus", ""),
        cpuset_mems=attributes.get("cpusetmems", ""),
    )


def _attestations(attributes: Mapping[str, str]) -> list[Attestation]:
    found = []
    for kind, text in _prefixed(attributes, _ATTEST).items():
        pairs = [each.partition("=") for each in csv_fields(text)] if text else []
        for key, equals, _ in pairs:
            if not equals:
                raise InputError(f"failed to parse {kind}: invalid attestation value {quote(key)}")
        attested = {key: value for key, _, value in pairs}
        is_disabled = bool(find_bool(attested.pop("disabled", "false")))
        found.append(Attestation(type=kind, disabled=is_disabled, attributes=attested))
    return [each for each in found if not each.disabled]
