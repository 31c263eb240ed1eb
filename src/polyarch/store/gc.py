"""The garbage collector: what is kept, by which policies, and what goes first.

Marked are the blobs that kept images reach, what a living process leases, and the
snapshots on which others stand. Swept are records, by the policies of BuildKit: each states who is
asked (filters), what is too young, and how much may stay; as long as more is there, the record goes that
is oldest and least used, both counted as ranks. Blobs that nothing refers to any more follow.

A directory is moved out of sight while nobody can lease it: who leases it before finds it, who does later
doesn't. Its record is removed after that. Who is killed in between leaves a record without a directory,
which the next build or collection forgets.

Blobs, and directories without a record, may be waiting for what refers to them: whoever adds them leases them first,
and lets go after what refers to them is written. So they are swept while nobody can lease anything, by what the
database says at that moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.digest import Digest
from polyarch.record import frozen
from polyarch.store.downloads import Downloads
from polyarch.store.images import reach
from polyarch.store.policy import Policy
from polyarch.store.refs import RefKind
from polyarch.store.store import Store
from polyarch.store.trees import tree_size
from polyarch.store.trouble import store_trouble
from polyarch.store.usage import Usage, blobs_in_use, usage

__all__ = ["Freed", "collect"]

_HOUR = 3600.0
_DAY = 24 * _HOUR
_SOURCE_SECONDS = 60 * _DAY


@frozen
class Freed:
    """What a collection has removed, and the bytes on disk of it."""

    snapshots: tuple[Usage, ...] = ()
    blobs: tuple[Digest, ...] = ()
    size: int = 0
    complete: bool = True
    """Whether anything was done: not while another process collects."""


def collect(
    store: Store,
    policies: Sequence[Policy],
    *,
    forget: Callable[[Sequence[str]], None] = lambda _: None,
    on_removed: Callable[[Usage], None] = lambda _: None,
    wait: bool = False,
) -> Freed:
    """Apply the policies in their order and sweep what nothing refers to.

    `forget` is told the ids of removed snapshots, within the transaction that removes their records:
    the place to remove cache records. `on_removed` hears of each record after it is gone. `store` should
    have been opened to look on (`works=False`). Only one process collects at a time; a second one
    returns with nothing, or waits for its turn. Raises StoreError.
    """
    with store.locks.exclusive("gc", wait=wait) as held:
        if not held:
            return Freed(complete=False)
        now = time.time()
        store.snapshots.settle(now)
        store.refs.settle(now)
        removed: list[Usage] = []
        for policy in policies:
            removed += _Sweep(store, policy, forget, on_removed).run()
        size = sum(entry.record.size for entry in removed) + _sweep_orphans(store)
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
        removed: list[Usage] = []
        # What went may have left a blob to another record, so what is used is added up anew.
        while gone := self._round():
            removed += gone
        return removed

    def _round(self) -> list[Usage]:
        known = {entry.record.id: entry for entry in usage(self._store)}
        used = sum(entry.size for entry in known.values() if not entry.shared)
        target = self._policy.target(used, _free(self._store))
        removed: list[Usage] = []
        while known and (target is None or used >= target):
            batch = self._candidates(known)
            if target is not None:
                batch = _least_wanted(batch)[:1]
            if not batch:
                break
            gone = self._remove_all(batch)
            for entry in gone:
                del known[entry.record.id]
            removed += gone
            used -= sum(entry.size for entry in gone if not entry.shared)
        return removed

    def _remove_all(self, batch: Iterable[Usage]) -> list[Usage]:
        """Remove what isn't leased, and return it."""
        removed = []
        for entry in batch:
            if self._remove(entry):
                removed.append(entry)
            else:
                # It stays known, as its parents must stay, too.
                self._leased.add(entry.record.id)
        return removed

    def _candidates(self, known: Mapping[str, Usage]) -> list[Usage]:
        policy = self._policy
        parents = {parent for entry in known.values() for parent in entry.record.parents}
        limit = time.time() - policy.keep_seconds
        return [
            entry
            for entry in known.values()
            if entry.record.id not in parents
            and entry.record.id not in self._leased
            and policy.concerns(entry)
            and (not policy.keep_seconds or entry.record.last_used < limit)
        ]

    def _remove(self, entry: Usage) -> bool:
        if entry.pushed is None and entry.download is None:
            is_gone = self._remove_snapshot(entry.record.id)
        else:
            is_gone = not entry.in_use and self._forget_blobs(entry)
        if is_gone:
            self._on_removed(entry)
        return is_gone

    def _forget_blobs(self, entry: Usage) -> bool:
        """Remove a record that has only blobs, which are swept with all others; who leases them keeps them."""
        if entry.download is not None:
            Downloads(self._store.database).forget(entry.download.url)
            return True
        return entry.pushed is not None and self._store.refs.forget(entry.pushed)

    def _remove_snapshot(self, snapshot: str) -> bool:
        store = self._store
        aside = store.temporary("collected")
        with store.leases.frozen() as held:
            if snapshot in held:
                return False
            _rename(store.snapshots_directory / snapshot, aside)
        with store.database.transaction():
            store.snapshots.remove(snapshot)
            self._forget([snapshot])
        store.discard(aside)
        return True


def _free(store: Store) -> int:
    status = os.statvfs(store.root)
    return status.f_bavail * status.f_frsize


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
    listed = os.listdir(store.snapshots_directory)
    moved = []
    with _unchanging(store, lambda: _recorded(store)) as known:
        for name in set(listed) - known:
            aside = store.temporary("collected")
            _rename(store.snapshots_directory / name, aside)
            moved.append(aside)
    size = 0
    for path in moved:
        size += tree_size(path)
        store.discard(path)
    return size


def _recorded(store: Store) -> set[str]:
    return {name for record in store.snapshots.all() for name in (record.id, *record.parents)}


def _sweep_blobs(store: Store) -> tuple[tuple[Digest, ...], int]:
    """Remove the blobs that neither an image, nor a record, nor a lease refers to."""
    listed = dict(store.blobs)
    removed: dict[Digest, Path] = {}
    with _unchanging(store, lambda: _referred(store)) as kept:
        for digest in listed:
            if digest not in kept:
                removed[digest] = store.temporary("collected")
                _rename(store.blobs.root / digest.replace(":", "/", 1), removed[digest])
    for path in removed.values():
        with store_trouble("remove", path), suppress(FileNotFoundError):
            path.unlink()
    return tuple(sorted(removed)), sum(listed[digest] for digest in removed)


def _referred(store: Store) -> set[str]:
    recent = time.time() - _SOURCE_SECONDS
    sources = [ref for ref in store.refs.all(RefKind.SOURCE) if ref.updated >= recent]
    documents = reach(store.blobs, (ref.descriptor for ref in sources), layers=False)
    return documents | blobs_in_use(store)


@contextmanager
def _unchanging(store: Store, find: Callable[[], set[str]]) -> Iterator[set[str]]:
    """Give what `find` finds in the database, and what is leased, while neither can become more.

    Nobody can add a lease in the block: keep it short. So `find`, which may read many documents, goes before it, and
    again only if the database has changed meanwhile.
    """
    version = store.database.version()
    found = find()
    with store.leases.frozen() as held:
        if store.database.version() != version:
            found = find()
        yield found | held
