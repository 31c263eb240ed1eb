from __future__ import annotations

import os
from pathlib import Path

from polyarch.digest import sha256
from polyarch.engine.collect import prune
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.key import CacheKey, Ingredients
from polyarch.store.policy import Policy
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from polyarch.why.history import History, Project
from tests.support.fakes.solving import make_records

OLD = 1_000_000_000.0


def step(store: Store, name: str, *, kind: RecordType = RecordType.REGULAR) -> None:
    """Put a snapshot there, and the record of the step that made it."""
    (store.snapshots_directory / name / "fs").mkdir(parents=True)
    store.snapshots.add(SnapshotRecord(id=name, size=100, created=OLD, last_used=OLD, type=kind))
    records = make_records(store.database)
    made = LayerStack().with_layer(SnapshotID(name))
    record = records.make(
        identity=made.identity,
        result=made.to_json(),
        step=name,
        ingredients=Ingredients(op=sha256(name.encode()), inputs=()),
    )
    records.save([CacheKey(name)], record)


def test_records_and_history_go_with_their_snapshots(tmp_path: Path) -> None:
    store = Store(tmp_path, works=False)
    step(store, "step-a")
    step(store, "step-b", kind=RecordType.INTERNAL)
    history = History(store.database)
    history.save(Project(context="/c", dockerfile="/c/Dockerfile"), [], [])
    known = len(history.builds())
    shown: list[str] = []

    freed = prune(store, [Policy()], on_removed=lambda entry: shown.append(entry.record.id))

    assert shown == [entry.record.id for entry in freed.snapshots] == ["step-a"]
    assert make_records(store.database).results() == ('[{"snapshot":"step-b"}]',)
    assert os.listdir(store.snapshots_directory) == ["step-b"]
    assert (known, history.builds()) == (1, ())
