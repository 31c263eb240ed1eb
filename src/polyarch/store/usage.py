"""What the store holds, record by record: what `polyarch du` shows and the collector goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.record import frozen, replace
from polyarch.store.images import layers_of, reach
from polyarch.store.refs import RefKind
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trees import tree_size

__all__ = ["Usage", "usage"]


@frozen
class Usage:
    """A record with what is known only now."""

    record: SnapshotRecord
    in_use: bool = False
    """A living process leases it, or a record that stands on it."""
    shared: bool = False
    """An image of the local store has this layer."""
    blob_size: int = 0
    """Bytes of the layer's archives that no image of the local store has."""

    @property
    def size(self) -> int:
        """The bytes that are freed with the record."""
        return self.record.size + self.blob_size

    @property
    def mutable(self) -> bool:
        """Whether steps still write to it."""
        return self.record.type is RecordType.CACHE_MOUNT


def usage(store: Store) -> tuple[Usage, ...]:
    """Return all records, by id; those that were never measured are, which may take a while.

    Directories of other users' files are measured only by who may read them: call it in the engine.
    """
    records = _measured(store)
    used = _with_parents(records, store.leases.held())
    images = [ref.descriptor for ref in store.refs.all(RefKind.IMAGE)]
    kept = reach(store.blobs, images)
    shared = layers_of(store.blobs, images)
    present = dict(store.blobs)
    sizes: dict[str, int] = {}
    for blob in store.layers.all():
        if blob.digest in kept:
            shared.add(blob.diff_id)
        else:
            sizes[blob.diff_id] = sizes.get(blob.diff_id, 0) + present.get(blob.digest, 0)
    return tuple(
        Usage(
            record=record,
            in_use=record.id in used,
            shared=record.diff_id in shared,
            blob_size=sizes.get(record.diff_id or "", 0),
        )
        for record in records
    )


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
