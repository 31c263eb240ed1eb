"""What settings say of the collector: the text of a `buildkitd.toml` -> policies, and remarks on what they mean.

Of `[worker.oci]` (else `[worker.containerd]`) these count: `gc`, `gckeepstorage`, `reservedSpace`, `maxUsedSpace`,
`minFreeSpace`, and `[[worker.oci.gcpolicy]]` with `all`, `filters`, `keepDuration`, `keepBytes`, `reservedSpace`,
`maxUsedSpace` and `minFreeSpace`. Spaces are bytes, "512MB" or a share of the disk, "10%"; durations are seconds or "48h".

Source: BuildKit's `cmd/buildkitd/config`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int, quote
from polyarch.golang.time import parse_duration
from polyarch.golang.units import bytes_size, ram_in_bytes
from polyarch.paths import read_toml
from polyarch.record import frozen
from polyarch.store.policy import Policy, Space, default_policies, default_space, share_of
from polyarch.store.recordfilter import parse_filter
from polyarch.store.snapshots import RecordType
from polyarch.store.usage import Usage

__all__ = ["Collecting", "collecting_for", "read_collecting"]

_WORKERS = ("oci", "containerd")
_TYPE = "type=="
_RESERVED = ("reservedSpace", "keepBytes")
Table = Mapping[str, object]


@frozen
class Collecting:
    """How the store is to be collected. Without policies nothing is, but what nothing refers to."""

    policies: tuple[Policy, ...] = ()
    remarks: tuple[str, ...] = ()
    """What settings don't do that their names may seem to say."""


def collecting_for(directory: Path, settings: str) -> Collecting:
    """Read settings for the disk that `directory` is on, or is to be on. Raises InputError."""
    existing = next(each for each in (directory, *directory.parents) if each.exists())
    status = os.statvfs(existing)
    return read_collecting(settings, status.f_blocks * status.f_frsize)


def read_collecting(text: str, total: int) -> Collecting:
    """Read settings for a disk of `total` bytes (0: unknown); an empty text has the defaults. Raises InputError."""
    try:
        worker = _worker(read_toml(text)) if text else {}
    except ValueError as error:
        raise InputError(str(error)) from error
    if worker.get("gc") is False:
        return Collecting()
    listed = worker.get("gcpolicy")
    if listed is not None:
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise InputError("gcpolicy is a list of tables", hint="write [[worker.oci.gcpolicy]]")
        policies = tuple(_policy(each, total) for each in listed)
        return Collecting(policies=policies, remarks=_floors(policies))
    legacy, reserved = (
        _space(worker, total, "gckeepstorage"),
        _space(worker, total, "reservedSpace"),
    )
    space = Space(
        reserved=reserved,
        max_used=_space(worker, total, "maxUsedSpace"),
        min_free=_space(worker, total, "minFreeSpace"),
    )
    if space == Space():
        space = Space(reserved=legacy)
    policies = default_policies(default_space(total) if space == Space() else space)
    return Collecting(policies=policies, remarks=_floors(policies[2:3]))


def _worker(document: Table) -> Table:
    workers = document.get("worker")
    if isinstance(workers, dict):
        for name in _WORKERS:
            if isinstance(found := workers.get(name), dict):
                return found
    return {}


def _policy(table: Table, total: int) -> Policy:
    texts = table.get("filters") or []
    if not isinstance(texts, list):
        raise InputError("the filters of a gcpolicy are a list of texts")
    filters = tuple(map(str, texts))
    # Those of one type only are by far the most, and can be shown as such.
    types = [each.removeprefix(_TYPE) for each in filters if each.startswith(_TYPE)]
    known = {each.value for each in RecordType}
    is_plain = len(types) == len(filters) and known.issuperset(types)
    duration = table.get("keepDuration", 0)
    return Policy(
        types=frozenset(map(RecordType, types)) if is_plain else frozenset(),
        matches=None if is_plain else _any(filters),
        filters=filters,
        keep_seconds=_seconds(duration),
        reserved=_space(table, total, *_RESERVED),
        max_used=_space(table, total, "maxUsedSpace"),
        min_free=_space(table, total, "minFreeSpace"),
        all=table.get("all") is True,
    )


def _any(filters: Sequence[str]) -> Callable[[Usage], bool]:
    try:
        conditions = [parse_filter(text) for text in filters]
    except InputError as error:
        raise InputError(
            f"the filters of a gcpolicy in buildkitd.toml: {error}", hint=error.hint
        ) from error
    return lambda entry: any(condition(entry) for condition in conditions)


def _space(table: Table, total: int, *names: str) -> int:
    """Return the bytes that the first of the settings that is there says; 0 if none is."""
    for name in names:
        if (value := table.get(name)) not in (None, "", 0):
            return _bytes(str(value), name, total)
    return 0


def _bytes(text: str, name: str, total: int) -> int:
    try:
        if text.endswith("%"):
            return share_of(total, parse_int(text[:-1]))
        return ram_in_bytes(text)
    except InputError as error:
        raise InputError(
            f"{name}: invalid disk space {quote(text)}",
            hint='write bytes, a size such as "512MB", or a share of the disk such as "10%"',
        ) from error


def _seconds(value: object) -> float:
    text = str(value)
    try:
        return parse_int(text) if text.lstrip("-").isdigit() else parse_duration(text) / 1e9
    except InputError as error:
        raise InputError(
            f"keepDuration: invalid duration {quote(text)}",
            hint='write seconds, or a duration such as "48h"',
        ) from error


def _floors(policies: Sequence[Policy]) -> tuple[str, ...]:
    """Say it where only a floor is set: people take it for a limit, and disks fill."""
    return tuple(
        f"the reserved space of {bytes_size(each.reserved)} is a floor: so much of the cache always stays, and nothing "
        "limits how much more there may be; set maxUsedSpace for a ceiling"
        for each in policies
        if each.reserved and not each.max_used and not each.min_free and not each.keep_seconds
    )
