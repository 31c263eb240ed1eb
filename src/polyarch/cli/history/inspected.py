"""What `history inspect` tells of a build: buildx's fields, by its names.

Source: buildx's `commands/history/inspect.go`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping

from polyarch.cli.history.shared import local_time
from polyarch.errors import InputError, PolyarchError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import parse_bool
from polyarch.golang.template.values import Value
from polyarch.history.attachments import Attachment
from polyarch.history.naming import build_name
from polyarch.history.record import BuildError, BuildRecord
from polyarch.platforms import parse_list
from polyarch.progress import Event, LogEvent, StepEvent
from polyarch.request.frontend import MULTI_PLATFORM_ARG

__all__ = ["CONFIG", "inspected", "without_empty"]

Fields = dict[str, Value]

CONFIG: Mapping[str, tuple[str, str]] = {
    "force-network-mode": ("Network", "Network"),
    "hostname": ("Hostname", "Hostname"),
    "add-hosts": ("ExtraHosts", "Extra Hosts"),
    "cgroup-parent": ("CgroupParent", "Cgroup Parent"),
    "image-resolve-mode": ("ImageResolveMode", "Image Resolve Mode"),
    "multi-platform": ("MultiPlatform", "Multi-Platform"),
    "no-cache": ("NoCache", "No Cache"),
    "no-cache-filter": ("NoCacheFilter", "No Cache Filter"),
    "shm-size": ("ShmSize", "Shm Size"),
    "ulimit": ("Ulimit", "Resource Limits"),
    "memory": ("Memory", "Memory"),
    "memswap": ("MemorySwap", "Memory Swap"),
    "cpushares": ("CPUShares", "CPU Shares"),
    "cpuperiod": ("CPUPeriod", "CPU Period"),
    "cpuquota": ("CPUQuota", "CPU Quota"),
    "cpusetcpus": ("CPUSetCPUs", "CPUSet CPUs"),
    "cpusetmems": ("CPUSetMems", "CPUSet Mems"),
    "build-arg:BUILDKIT_CACHE_MOUNT_NS": ("CacheMountNS", "Cache Mount Namespace"),
    "build-arg:BUILDKIT_DOCKERFILE_CHECK": ("DockerfileCheckConfig", "Dockerfile Check Config"),
    "build-arg:SOURCE_DATE_EPOCH": ("SourceDateEpoch", "Source Date Epoch"),
    "build-arg:SANDBOX_HOSTNAME": ("SandboxHostname", "Sandbox Hostname"),
}
"""What is told of a build's settings: attribute, its field, and its label for people."""

_MULTI_PLATFORM = f"build-arg:{MULTI_PLATFORM_ARG}"
_KEEP_GIT = "build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_PLACES = ("context", "filename", "target", "platform", _KEEP_GIT, _MULTI_PLATFORM, "frontend.caps")
_TOLD_ELSEWHERE = ("vcs:", "build-arg:", "label:", "context:", "attest:")
_MOST_LINES = 16


def inspected(
    record: BuildRecord,
    now: float,
    events: Iterator[Event],
    attachments: tuple[Attachment, ...],
    materials: list[Value],
) -> Fields:
    """Return all fields, empty ones included; `events` are asked for only where the build failed."""
    attributes = record.attributes
    problems: list[Value] = []
    repository = {} if "context" in attributes else attributes
    completed = None if record.completed is None else local_time(record.completed)
    return {
        "Name": build_name(record),
        "Ref": record.ref,
        "Context": _context(record),
        "Dockerfile": _dockerfile(record),
        "VCSRepository": repository.get("vcs:source", ""),
        "VCSRevision": repository.get("vcs:revision", ""),
        "Target": attributes.get("target", ""),
        "Platform": _platforms(attributes.get("platform", ""), problems),
        "KeepGitDir": _flag(attributes, _KEEP_GIT, problems),
        "NamedContexts": _pairs(attributes, "context:"),
        "StartedAt": local_time(record.created),
        "CompletedAt": completed,
        "Duration": round(record.seconds(now) * 1_000_000_000),
        "Status": record.status.value,
        "Error": None if record.error is None else _error(record.error, events),
        "NumCompletedSteps": record.counts.completed,
        "NumTotalSteps": record.counts.total,
        "NumCachedSteps": record.counts.cached,
        "BuildArgs": _pairs(
            attributes, "build-arg:", without=(_KEEP_GIT, _MULTI_PLATFORM, *CONFIG)
        ),
        "Labels": _pairs(attributes, "label:"),
        "Config": _config(attributes, problems),
        "Materials": materials,
        "Attachments": [
            {
                "Digest": each.descriptor.digest,
                "Platform": "" if each.platform is None else str(each.platform),
                "Type": each.type,
            }
            for each in attachments
        ],
        "Errors": problems,
    }


def without_empty(fields: Mapping[str, Value]) -> Fields:
    """Return what JSON has: fields that hold something, and those that always stand there."""
    kept = {"Ref", "NumCompletedSteps", "NumTotalSteps", "NumCachedSteps", "Config"}
    found = {name: _filled(value) for name, value in fields.items() if name in kept or value}
    error = found.get("Error")
    if isinstance(error, dict) and "Sources" in error:
        # Bytes for Go, which JSON has in base64; buildx ends each place by an empty line.
        data = f"{error['Sources']}\n".encode()
        found["Error"] = {**error, "Sources": base64.b64encode(data).decode()}
    return found


def _filled(value: Value) -> Value:
    if isinstance(value, dict):
        return {name: _filled(each) for name, each in value.items() if each}
    return [_filled(each) for each in value] if isinstance(value, list) else value


# --- places ---


def _context(record: BuildRecord) -> str:
    local = record.state.get("LocalPath", "")
    return _relative(local, os.getcwd()) if local else record.attributes.get("context", "")


def _dockerfile(record: BuildRecord) -> str:
    local = record.state.get("DockerfilePath", "")
    if local:
        return local if local == "-" else _relative(local, record.state.get("LocalPath", ""))
    name = record.attributes.get("filename", "")
    inside = record.attributes.get("vcs:localdir:dockerfile", "")
    return os.path.normpath(os.path.join(inside, name)) if name and inside else name


def _relative(path: str, start: str) -> str:
    """Return a path as it is seen from `start`, unless that leads upwards."""
    if not os.path.isabs(path) or not os.path.isabs(start):
        return path
    relative = os.path.relpath(path, start)
    return path if relative.startswith("../") else relative


# --- settings ---


def _config(attributes: Mapping[str, str], problems: list[Value]) -> Fields:
    fields: Fields = {name: attributes.get(key, "") for key, (name, _) in CONFIG.items()}
    without = attributes.get("no-cache")
    fields["NoCache"] = without == ""
    fields["NoCacheFilter"] = list(without.split(",")) if without else []
    fields["MultiPlatform"] = any(
        _flag(attributes, key, problems) for key in ("multi-platform", _MULTI_PLATFORM)
    )
    hosts = attributes.get("add-hosts", "")
    fields["ExtraHosts"] = list(csv_fields(hosts)) if hosts else []
    known = {*CONFIG, *_PLACES}
    fields["RestRaw"] = [
        {"Name": key, "Value": value}
        for key, value in sorted(attributes.items())
        if key not in known and not key.startswith(_TOLD_ELSEWHERE)
    ]
    return fields


def _flag(attributes: Mapping[str, str], key: str, problems: list[Value]) -> bool:
    text = attributes.get(key, "")
    try:
        return bool(text) and parse_bool(text)
    except InputError as error:
        problems.append(f"failed to parse {text}: ({error})")
        return False


def _platforms(text: str, problems: list[Value]) -> list[Value]:
    try:
        return [str(each) for each in parse_list((text,), keep_doubles=True)] if text else []
    except PolyarchError as error:
        problems.append(f"failed to parse {text}: ({error})")
        return []


def _pairs(
    attributes: Mapping[str, str], prefix: str, without: tuple[str, ...] = ()
) -> list[Value]:
    return [
        {"Name": key.removeprefix(prefix), "Value": value}
        for key, value in sorted(attributes.items())
        if key.startswith(prefix) and key not in without
    ]


# --- why it failed ---


def _error(error: BuildError, events: Iterator[Event]) -> Fields:
    known = list(events)
    step = error.step or _failed(known)
    name, lines = _last_lines(step, known) if step else ("", [])
    return {
        "Code": error.code,
        "Message": error.message,
        "Name": name,
        "Logs": list(lines),
        "Sources": error.excerpt,
        "Stack": "",
    }


def _failed(events: Iterable[Event]) -> str:
    """Return the step that ended by an error, "" if none did: BuildKit's records have that elsewhere."""
    failed = [each.step for each in events if isinstance(each, StepEvent) and each.error]
    return failed[-1] if failed else ""


def _last_lines(step: str, events: Iterable[Event]) -> tuple[str, list[str]]:
    """Return the name of a step, and the last lines of what it printed."""
    name, data = "", b""
    for event in events:
        if event.step != step:
            continue
        if isinstance(event, StepEvent):
            name = event.name
        elif isinstance(event, LogEvent):
            data += event.data
    lines = [line for line in data.decode(errors="replace").split("\n") if line]
    return name, lines[-_MOST_LINES:]
