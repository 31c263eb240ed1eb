"""What a process that was killed left half done, brought to its end by the next one.

A snapshot appears by a rename, and is recorded after that; it goes by a rename, too, and its record after
that. Who is killed in between leaves one without the other. Every snapshot has what its record says
beside it, so the record can be made up for, and the layer isn't lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from polyarch.store.database import Database
from polyarch.store.snapshots import SnapshotRecord, SnapshotRecords
from polyarch.store.trouble import store_trouble

__all__ = ["RECORD_NAME", "recover"]

RECORD_NAME = "record"
"""The file in a snapshot's directory that says what its record says."""


def recover(database: Database, records: SnapshotRecords, directory: Path) -> None:
    """Record the snapshots in `directory` that aren't, and forget those that are gone. Raises StoreError.

    May run while others work: what they are about to record is recorded twice, which is no harm, and
    what they are about to publish is recorded by them when this is done.
    """
    recorded = {record.id for record in records.all()}
    with database.transaction():
        with store_trouble("list the snapshots", directory):
            present = set(os.listdir(directory))
        for record in _unrecorded(directory, present - recorded):
            records.add(record)
        for snapshot in recorded - present:
            records.remove(snapshot)


def _unrecorded(directory: Path, names: set[str]) -> Iterator[SnapshotRecord]:
    for name in sorted(names):
        # One that can't be read is left to the collector.
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield SnapshotRecord.from_json(name, (directory / name / RECORD_NAME).read_text())
