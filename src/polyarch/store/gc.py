"""The garbage collector: what is kept, by which policies, and what goes first.

Marked are the blobs that images reach, the snapshots and blobs that a living process leases, and the
snapshots on which others stand. Swept are snapshots, by the policies of BuildKit: each states who is
asked (filters), what is too young, and how much may stay; as long as more is there, the record goes that
is oldest and least used, both counted as ranks. Blobs that nothing refers to any more follow.

A directory is moved out of sight while nobody can lease it: who leases it before finds it, who does later
doesn't. Its record is removed after that. Who is killed in between leaves a record without a directory,
which the next build or collection forgets.

Blobs, and directories without a record, may be waiting for what refers to them while somebody works on
the store (`Store.works`). They are swept only when nobody does, and nobody can start meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch.digest import Digest
from polyarch.record import frozen
from polyarch.store.images import reach
from polyarch.store.policy import Policy
from polyarch.store.refs import RefKind
from polyarch.store.snapshots import RecordType
from polyarch.store.store import Store
from polyarch.store.trees import tree_size
from polyarch.store.trouble import store_trouble
from polyarch.store.usage import Usage, usage

__all__ = ["Freed", "collect"]

_HOUR = 3600.0
_DAY = 24 * _HOUR
_HIDDEN = frozenset({RecordType.INTERNAL, RecordType.FRONTEND})
_SOURCE_SECONDS = 60 * _DAY


@frozen
class Freed:
    """What a collection has removed, and the bytes on disk of it."""

    snapshots: tuple[Usage, ...] = ()
    blobs: tuple[Digest, ...] = ()
    size: int = 0
    complete: bool = True
    """Whether blobs were swept, too: not while somebody works on the store, or collects already."""


def collect(
    store: Store,
    policies: Sequence[Policy],
    *,
    forget: Callable[[Sequence[str]], None] = lambda _: None,
    on_removed: Callable[[Usage], None] = lambda _: None,
) -> Freed:
    """Apply the policies in their order and sweep what nothing refers to.

    `forget` is told the ids of removed snapshots, within the transaction that removes their records:
    the place to remove cache records. `on_removed` hears of each record after it is gone. `store` should
    have been opened to look on (`works=False`). Only one process collects at a time; a second one
    returns with nothing. Raises StoreError.
    """
    with store.locks.exclusive("gc", wait=False) as held:
        if not held:
            return Freed(complete=False)
        now = time.time()
        store.snapshots.settle(now)
        store.refs.settle(now)
        removed: list[Usage] = []
        for policy in policies:
            removed += _Sweep(store, policy, forget, on_removed).run()
        size = sum(entry.record.size for entry in removed)
        with store.locks.exclusive("work", wait=False) as alone:
            if not alone:
                return Freed(snapshots=tuple(removed), size=size, complete=False)
            size += _sweep_orphans(store)
            blobs, blob_size = _sweep_blobs(store)
        store.locks.sweep()
        return Freed(snapshots=tuple(removed), blobs=blobs, size=size + blob_size)


class _Sweep:
    """One policy at work."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        forget: Callable[[Sequence[str]], None],
        on_removed: Callable[[Usage], None],
    ) -> None:
        self._store = store
        self._policy = policy
        self._forget = forget
        self._on_removed = on_removed
        self._leased: set[str] = set()

    def run(self) -> list[Usage]:
        known = {entry.record.id: entry for entry in usage(self._store)}
        used = sum(entry.size for entry in known.values() if not entry.shared)
        target = self._target(used)
        removed: list[Usage] = []
        while known and (target is None or used >= target):
            batch = self._candidates(known)
            if target is not None:
                batch = _least_wanted(batch)[:1]
            gone = [entry for entry in batch if self._remove(entry)]
            # What is leased stays known, as its parents must stay, too.
            self._leased |= {entry.record.id for entry in batch if entry not in gone}
            for entry in gone:
                del known[entry.record.id]
            removed += gone
            used -= sum(entry.size for entry in gone if not entry.shared)
            if not batch:
                break
        return removed

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

    def _candidates(self, known: Mapping[str, Usage]) -> list[Usage]:
        policy = self._policy
        parents = {parent for entry in known.values() for parent in entry.record.parents}
        limit = time.time() - policy.keep_seconds
        return [
            entry
            for entry in known.values()
            if entry.record.id not in parents
            and entry.record.id not in self._leased
            and (policy.all or not (entry.shared or entry.record.type in _HIDDEN))
            and (not policy.types or entry.record.type in policy.types)
            and (not policy.keep_seconds or entry.record.last_used < limit)
            and (policy.matches is None or policy.matches(entry))
        ]

    def _remove(self, entry: Usage) -> bool:
        record, store = entry.record, self._store
        aside = store.temporary("collected")
        with store.leases.frozen() as held:
            if record.id in held:
                return False
            _rename(store.snapshots_directory / record.id, aside)
        with store.database.transaction():
            store.snapshots.remove(record.id)
            self._forget([record.id])
        store.discard(aside)
        self._on_removed(entry)
        return True


def _rename(path: Path, target: Path) -> None:
    with store_trouble("remove", path), suppress(FileNotFoundError):
        os.rename(path, target)


def _least_wanted(entries: Iterable[Usage]) -> list[Usage]:
    """Order by the rank of age plus the rank of uses, each from 0 to 1; equal values rank equally."""
    listed = list(entries)
    times = _ranks(entry.record.last_used for entry in listed)
    uses = _ranks(entry.record.uses for entry in listed)

    def unwanted(entry: Usage) -> tuple[float, float, str]:
        record = entry.record
        return times[record.last_used] + uses[record.uses], record.last_used, record.id

    return sorted(listed, key=unwanted)


def _ranks(values: Iterable[float]) -> dict[float, float]:
    distinct = sorted(set(values))
    return {value: rank / max(len(distinct) - 1, 1) for rank, value in enumerate(distinct)}


def _sweep_orphans(store: Store) -> int:
    """Remove the directories without a record, of those who were killed at the wrong moment."""
    known = set(store.leases.held())
    for record in store.snapshots.all():
        known |= {record.id, *record.parents}
    size = 0
    for path in list(store.snapshots_directory.iterdir()):
        if path.name not in known:
            size += tree_size(path)
            store.discard(path)
    return size


def _sweep_blobs(store: Store) -> tuple[tuple[Digest, ...], int]:
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
        if digest not in kept:
            store.blobs.remove(digest)
            removed.append(digest)
            size += bytes_
    return tuple(sorted(removed)), size
