"""The garbage collector: what is kept, by which policies, and what goes first.

Marked are the blobs that images reach, the snapshots and blobs that a living process leases, and the
snapshots on which others stand. Swept are snapshots, by the policies of BuildKit: each states who is
asked (filters), what is too young, and how much may stay; as long as more is there, the record goes that
is oldest and least used, both counted as ranks. Blobs that nothing refers to any more follow.

A record is removed in a transaction in which nobody can lease it, and its directory after that; who is
killed in between leaves a directory without a record, which `store.checkup` and the next collection find.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch.digest import Digest
from polyarch.record import frozen, replace
from polyarch.store.images import reach
from polyarch.store.refs import RefKind
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trees import tree_size

__all__ = ["Freed", "Policy", "Usage", "collect", "default_policies", "usage"]

_GB = 1_000_000_000
_HOUR = 3600.0
_DAY = 24 * _HOUR
_HIDDEN = frozenset({RecordType.INTERNAL, RecordType.FRONTEND})
_SHORT_LIVED = frozenset({RecordType.SOURCE_LOCAL, RecordType.CACHE_MOUNT, RecordType.SOURCE_GIT})
_SOURCE_SECONDS = 60 * _DAY
_GRACE_SECONDS = _HOUR


@frozen
class Policy:
    """One rule of the collector. Sizes are bytes, times are seconds; 0 means that there is no bound."""

    types: frozenset[RecordType] = frozenset()
    """Only records of these types; all if empty."""
    matches: Callable[[SnapshotRecord], bool] | None = None
    """Only records that this accepts: the filters of `prune`."""
    keep_seconds: float = 0.0
    """Records used since then stay."""
    reserved: int = 0
    """So much always stays."""
    max_used: int = 0
    """No more than this should be used."""
    min_free: int = 0
    """So much of the disk should be free."""
    all: bool = False
    """Internal and frontend records, and those that images share, go too."""


@frozen
class Usage:
    """A record with what is known only now."""

    record: SnapshotRecord
    in_use: bool
    """A living process leases it, or another record stands on it."""
    shared: bool
    """An image of the local store has this layer."""


@frozen
class Freed:
    """What a collection has removed, and the bytes on disk of it."""

    snapshots: tuple[SnapshotRecord, ...] = ()
    blobs: tuple[Digest, ...] = ()
    size: int = 0


def default_policies(
    total: int, *, reserved: int = 0, max_used: int = 0, min_free: int = 0
) -> tuple[Policy, ...]:
    """Return BuildKit's default policies for a disk of `total` bytes (0: unknown).

    Each bound can be set by hand. Percentages become bytes as BuildKit reckons them.
    """
    reserved = reserved or min(_part(total, 10), 10 * _GB)
    max_used = max_used or min(_part(total, 80), 100 * _GB)
    min_free = min_free or _part(total, 20)
    bounded = Policy(reserved=reserved, max_used=max_used, min_free=min_free)
    return (
        Policy(types=_SHORT_LIVED, keep_seconds=48 * _HOUR, max_used=512_000_000),
        replace(bounded, keep_seconds=60 * _DAY),
        bounded,
        replace(bounded, all=True),
    )


def _part(total: int, percent: int) -> int:
    return (total * percent // 100 // (1 << 30) + 1) * _GB if total else 2 * _GB


def usage(store: Store) -> tuple[Usage, ...]:
    """Return all records, as `polyarch du` lists them, by id."""
    records = store.snapshots.all()
    held = store.leases.held()
    parents = {parent for record in records for parent in record.parents}
    shared = _shared_diff_ids(store)
    return tuple(
        Usage(
            record=record,
            in_use=record.id in held or record.id in parents,
            shared=record.diff_id is not None and record.diff_id in shared,
        )
        for record in records
    )


def collect(
    store: Store,
    policies: Sequence[Policy],
    *,
    forget: Callable[[Sequence[str]], None] = lambda _: None,
    grace_seconds: float = _GRACE_SECONDS,
) -> Freed:
    """Apply the policies in their order and sweep what nothing refers to.

    `forget` is told the ids of removed snapshots, within the transaction that removes their records:
    the place to remove cache records. Blobs and directories that nothing refers to stay until they are
    `grace_seconds` old, as that which refers to them may be yet to come. Only one process collects at a time; a second one returns
    with nothing. Raises StoreError.
    """
    with store.locks.exclusive("gc", wait=False) as held:
        if not held:
            return Freed()
        removed: list[SnapshotRecord] = []
        for policy in policies:
            removed += _Sweep(store, policy, forget).run()
        size = sum(record.size for record in removed)
        oldest = time.time() - grace_seconds
        size += _sweep_orphans(store, oldest)
        blobs, blob_size = _sweep_blobs(store, oldest)
        return Freed(snapshots=tuple(removed), blobs=blobs, size=size + blob_size)


class _Sweep:
    """One policy at work."""

    def __init__(
        self, store: Store, policy: Policy, forget: Callable[[Sequence[str]], None]
    ) -> None:
        self._store = store
        self._policy = policy
        self._forget = forget
        self._leased: set[str] = set()

    def run(self) -> Iterator[SnapshotRecord]:
        known = {entry.record.id: entry for entry in usage(self._store)}
        used = sum(entry.record.size for entry in known.values() if not entry.shared)
        target = self._target(used)
        while known and (target is None or used >= target):
            batch = self._candidates(known)
            if target is not None:
                batch = _least_wanted(batch)[:1]
            gone = [record for record in batch if self._remove(record)]
            # What is leased stays known, as its parents must stay, too.
            self._leased |= {record.id for record in batch} - {record.id for record in gone}
            for record in gone:
                del known[record.id]
            yield from gone
            used -= sum(record.size for record in gone)
            if not batch:
                return

    def _target(self, used: int) -> int | None:
        """Return the bytes that may stay; None for no bound at all: whatever matches goes."""
        policy = self._policy
        if not (policy.max_used or policy.min_free or policy.reserved):
            return None
        keep = policy.max_used
        if policy.min_free:
            status = os.statvfs(self._store.root)
            deficit = policy.min_free - status.f_bavail * status.f_frsize
            if deficit > 0:
                keep = min(keep or used, max(used - deficit, 0))
            elif not keep:
                keep = used + 1
        return max(keep, policy.reserved)

    def _candidates(self, known: Mapping[str, Usage]) -> list[SnapshotRecord]:
        policy = self._policy
        parents = {parent for entry in known.values() for parent in entry.record.parents}
        limit = time.time() - policy.keep_seconds
        return [
            entry.record
            for entry in known.values()
            if entry.record.id not in parents
            and entry.record.id not in self._leased
            and (policy.all or not (entry.shared or entry.record.type in _HIDDEN))
            and (not policy.types or entry.record.type in policy.types)
            and (not policy.keep_seconds or entry.record.last_used < limit)
            and (policy.matches is None or policy.matches(entry.record))
        ]

    def _remove(self, record: SnapshotRecord) -> bool:
        with self._store.database.transaction():
            if record.id in self._store.leases.held():
                return False
            self._store.snapshots.remove(record.id)
            self._forget([record.id])
        self._store.discard(self._store.snapshots_folder / record.id)
        return True


def _least_wanted(records: Iterable[SnapshotRecord]) -> list[SnapshotRecord]:
    """Order by the rank of age plus the rank of uses, each from 0 to 1; equal values rank equally."""
    listed = list(records)
    times = _ranks(record.last_used for record in listed)
    uses = _ranks(record.uses for record in listed)
    return sorted(listed, key=lambda r: (times[r.last_used] + uses[r.uses], r.last_used, r.id))


def _ranks(values: Iterable[float]) -> dict[float, float]:
    distinct = sorted(set(values))
    return {value: rank / max(len(distinct) - 1, 1) for rank, value in enumerate(distinct)}


def _shared_diff_ids(store: Store) -> frozenset[str]:
    kept = reach(store.blobs, (ref.descriptor for ref in store.refs.all(RefKind.IMAGE)))
    return frozenset(blob.diff_id for blob in store.layers.all() if blob.digest in kept)


def _sweep_orphans(store: Store, oldest: float) -> int:
    """Remove the directories without a record, of those who were killed at the wrong moment."""
    known = {record.id for record in store.snapshots.all()} | store.leases.held()
    size = 0
    for path in list(store.snapshots_folder.iterdir()):
        if path.name not in known and _is_old(path, oldest):
            size += tree_size(path)
            store.discard(path)
    return size


def _sweep_blobs(store: Store, oldest: float) -> tuple[tuple[Digest, ...], int]:
    """Remove the blobs that neither an image, nor a snapshot, nor a lease refers to."""
    recent = time.time() - _SOURCE_SECONDS
    sources = [ref for ref in store.refs.all(RefKind.SOURCE) if ref.updated >= recent]
    kept: set[str] = set(store.leases.held())
    kept |= reach(store.blobs, (ref.descriptor for ref in store.refs.all(RefKind.IMAGE)))
    kept |= reach(store.blobs, (ref.descriptor for ref in sources), layers=False)
    living = {record.diff_id for record in store.snapshots.all()}
    kept |= {blob.digest for blob in store.layers.all() if blob.diff_id in living}
    removed: list[Digest] = []
    size = 0
    for digest, bytes_ in list(store.blobs):
        if digest not in kept and _is_old(store.blobs.path(digest), oldest):
            store.blobs.remove(digest)
            removed.append(digest)
            size += bytes_
    return tuple(sorted(removed)), size


def _is_old(path: Path, oldest: float) -> bool:
    with suppress(FileNotFoundError):
        return os.lstat(path).st_ctime < oldest
    return False
