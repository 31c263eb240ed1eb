"""What the store holds, record by record: what `polyarch du` shows and the collector goes by.

Most records are snapshots. The others hold no more than blobs: images that were pushed, as far as no snapshot has
their layers, and files of web servers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress

from polyarch.digest import Digest
from polyarch.record import field, frozen, mutable, replace
from polyarch.store.downloads import Download, Downloads
from polyarch.store.images import layers_of, reach
from polyarch.store.refs import Ref, RefKind
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trees import tree_size

__all__ = ["Usage", "blobs_in_use", "usage"]


@frozen
class Usage:
    """A record with what is known only now."""

    record: SnapshotRecord
    in_use: bool = False
    """A living process leases it, or a record that stands on it."""
    shared: bool = False
    """A kept image of the local store has this layer."""
    blob_size: int = 0
    """Bytes of its blobs that no kept image of the local store has."""
    pushed: Ref | None = None
    """The name that it is, if it is a pushed image."""
    download: Download | None = None
    """The file that it is, if it is one of a web server."""

    is_written: bool = False
    """Whether it may still change though it is no cache mount, as a daemon's records of contexts do."""

    @property
    def size(self) -> int:
        """The bytes that are freed with the record."""
        return self.record.size + self.blob_size

    @property
    def mutable(self) -> bool:
        """Whether steps still write to it."""
        return self.is_written or self.record.type is RecordType.CACHE_MOUNT


def usage(store: Store) -> tuple[Usage, ...]:
    """Return all records, by id; those that were never measured are, which may take a while.

    Directories of other users' files are measured only by who may read them: call it in the engine.
    """
    records = _measured(store)
    held = store.leases.held()
    used = _with_parents(records, held)
    images = [ref.descriptor for ref in store.refs.all(RefKind.IMAGE)]
    shared = layers_of(store.blobs, images)
    blobs = _Blobs(present=dict(store.blobs), counted=reach(store.blobs, images))
    sizes: dict[str, int] = {}
    living = {record.diff_id for record in records}
    for blob in store.layers.all():
        if blob.digest in blobs.counted:
            shared.add(blob.diff_id)
        elif blob.diff_id in living:
            sizes[blob.diff_id] = sizes.get(blob.diff_id, 0) + blobs.count([blob.digest])
    snapshots = [
        Usage(
            record=record,
            in_use=record.id in used,
            shared=record.diff_id in shared,
            blob_size=sizes.pop(record.diff_id, 0) if record.diff_id else 0,
        )
        for record in records
    ]
    others = (*_pushed(store, blobs, held), *_downloads(store, blobs, held))
    return tuple(sorted((*snapshots, *others), key=lambda entry: entry.record.id))


def blobs_in_use(store: Store) -> set[str]:
    """Return the digests of all blobs that a kept image or a record has; leases aside."""
    images = [ref.descriptor for ref in store.refs.all(RefKind.IMAGE)]
    pushed = [ref.descriptor for ref in store.refs.all(RefKind.PUSHED)]
    living = {record.diff_id for record in store.snapshots.all()}
    return {
        *reach(store.blobs, (*images, *pushed)),
        *(blob.digest for blob in store.layers.all() if blob.diff_id in living),
        *(each.digest for each in Downloads(store.database).all()),
    }


@mutable
class _Blobs:
    """The blobs of a store, with their sizes in bytes; each is counted for whoever comes first."""

    present: dict[Digest, int]
    counted: set[Digest] = field(default_factory=set)

    def count(self, digests: Iterable[Digest]) -> int:
        """Return the bytes of those that are here and weren't counted yet."""
        new = {digest for digest in digests if digest in self.present} - self.counted
        self.counted |= new
        return sum(self.present[digest] for digest in new)


def _pushed(store: Store, blobs: _Blobs, held: frozenset[str]) -> list[Usage]:
    return [
        Usage(
            record=SnapshotRecord(
                id=_identity("image", ref.name),
                created=ref.created,
                last_used=ref.updated,
                uses=1,
                description=f"pushed as {ref.name}",
            ),
            in_use=not held.isdisjoint(reach(store.blobs, [ref.descriptor], layers=False)),
            blob_size=blobs.count(reach(store.blobs, [ref.descriptor])),
            pushed=ref,
        )
        for ref in store.refs.all(RefKind.PUSHED)
    ]


def _downloads(store: Store, blobs: _Blobs, held: frozenset[str]) -> list[Usage]:
    found = []
    for download in Downloads(store.database).all():
        # One that was collected is asked for again, as if it had never been here.
        with suppress(FileNotFoundError):
            fetched = store.blobs.path(download.digest).stat().st_mtime
            found.append(
                Usage(
                    record=SnapshotRecord(
                        id=_identity("download", download.url),
                        created=fetched,
                        last_used=fetched,
                        uses=1,
                        description=f"fetched from {download.url}",
                    ),
                    in_use=download.digest in held,
                    blob_size=blobs.count([download.digest]),
                    download=download,
                )
            )
    return found


def _identity(kind: str, name: str) -> str:
    return f"{kind}-{hashlib.sha256(name.encode()).hexdigest()}"


def _measured(store: Store) -> list[SnapshotRecord]:
    """Return all records with their sizes; a cache's changes with every step that uses it."""
    records = []
    sizes: dict[str, int] = {}
    for record in store.snapshots.all():
        size = record.size
        if size == 0 or record.type is RecordType.CACHE_MOUNT:
            size = tree_size(store.snapshots_directory / record.id)
        if size != record.size:
            sizes[record.id] = size
        records.append(replace(record, size=size))
    store.snapshots.set_sizes(sizes)
    return records


def _with_parents(records: Iterable[SnapshotRecord], held: Iterable[str]) -> set[str]:
    parents: Mapping[str, tuple[str, ...]] = {record.id: record.parents for record in records}
    used: set[str] = set()
    todo = list(held)
    while todo:
        name = todo.pop()
        if name not in used:
            used.add(name)
            todo += parents.get(name, ())
    return used
