"""What the dead have left half done is brought to its end by who opens the store next."""

from __future__ import annotations

from pathlib import Path

from polyarch.snapshot.directories import Directories
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.checkup import check
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store

RECORD = SnapshotRecord(id="x", parents=("a",), description="RUN x", type=RecordType.CACHE_MOUNT)


def test_a_snapshot_is_recorded_and_a_lost_one_forgotten_after_a_death(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        Directories(store).unpack(SnapshotID("x"), lambda _: None, RECORD)
        store.snapshots.remove("x")  # as if the record had not been written yet
        store.snapshots.add(SnapshotRecord(id="gone"))
    (tmp_path / "tmp/2-dead").mkdir()  # nobody holds its lock

    with Store(tmp_path) as store:
        found = store.snapshots.find("x")
        assert found is not None
        assert (found.parents, found.description, found.type) == (
            RECORD.parents,
            RECORD.description,
            RECORD.type,
        )
        assert check(store) == ()
        assert not (tmp_path / "tmp/2-dead").exists()
