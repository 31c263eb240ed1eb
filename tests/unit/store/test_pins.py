from __future__ import annotations

import json
import time
from pathlib import Path

from polyarch.digest import DiffID, sha256
from polyarch.store.pins import KeptImage, kept_images, pins
from polyarch.store.policy import Policy
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.usage import usage

NOW = time.time()


def add(store: Store, record: SnapshotRecord) -> None:
    (store.snapshots_directory / record.id / "fs").mkdir(parents=True)
    store.snapshots.add(record)


def reasons(store: Store, *policies: Policy) -> dict[str, tuple[str, ...]]:
    return dict(pins(store, usage(store), policies))


def test_what_no_collection_gets_past(tmp_path: Path) -> None:
    store = Store(tmp_path, works=False)
    diff_id = DiffID(sha256(b"plain"))
    config = store.blobs.put(json.dumps({"rootfs": {"diff_ids": [diff_id]}}).encode())
    manifest = store.blobs.put(json.dumps({"config": {"digest": config}, "layers": []}).encode())
    store.refs.set("app:1", json.dumps({"digest": manifest}))
    add(store, SnapshotRecord(id="base", size=1, diff_id=diff_id))
    add(store, SnapshotRecord(id="step", size=1, parents=("base",)))
    add(store, SnapshotRecord(id="other", size=1, parents=("base",)))
    with store.leases.hold(["step"]):
        found = reasons(store, Policy(max_used=100))

    assert found == {
        "base": ("other (and 1 more) stands on it", "the image app:1 has this layer"),
        "step": ("a running build uses it",),
        "other": ("policy rule#0: 2B are used of 100B",),
    }
    size = store.blobs.size(config) + store.blobs.size(manifest)
    assert kept_images(store) == (KeptImage(name="app:1", size=size),)


def test_what_the_policies_say(tmp_path: Path) -> None:
    store = Store(tmp_path, works=False)
    old = NOW - 1000
    add(store, SnapshotRecord(id="old", size=60, created=old, last_used=old))
    add(store, SnapshotRecord(id="inner", size=40, type=RecordType.INTERNAL))

    young = Policy(keep_seconds=3600, max_used=1)
    assert reasons(store)["old"] == ("the settings turn collections off (gc = false)",)
    assert reasons(store, young)["old"] == ("policy rule#0: used within 1h0m0s",)
    assert reasons(store, young)["inner"] == ("no policy is about it",)
    assert reasons(store, young, Policy(reserved=200))["old"] == (
        "policy rule#1: 100B are used, and 200B always stay (a floor)",
    )
    assert reasons(store, Policy(max_used=50))["old"] == (
        "policy rule#0: goes with the next collection, or others before it",
    )
