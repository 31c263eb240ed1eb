import json
import os
from pathlib import Path

import pytest

from polyarch.digest import DiffID, Digest, sha256
from polyarch.store.checkup import check, debris, repair
from polyarch.store.layers import LayerBlob
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_fresh_store_is_sound(store: Store) -> None:
    store.blobs.put(b"x")

    assert check(store, deep=True) == ()


def test_faults_are_found_and_mended(store: Store) -> None:
    damaged = store.blobs.put(b"hello")
    store.blobs.path(damaged).write_bytes(b"hallo")
    short = store.blobs.put(b"layer")
    store.layers.add(
        LayerBlob(digest=short, diff_id=DiffID(short), media_type="t", size=6, compression="gzip")
    )
    (store.blobs.root / "sha256/stray").touch()
    (store.snapshots_directory / "half").mkdir()
    store.snapshots.add(SnapshotRecord(id="half"))
    store.refs.set("image", json.dumps({"digest": sha256(b"nowhere")}))
    problems = check(store, deep=True)
    shallow = check(store)
    repair(store, problems)

    assert [(problem.kind, problem.subject) for problem in problems] == [
        ("snapshot", "half"),
        ("name", "image"),
        *sorted([("blob", damaged), ("blob", short), ("blob", Digest("sha256:stray"))]),
    ]
    assert all(problem.is_fault for problem in problems)
    assert set(problems) - set(shallow) == {
        problem for problem in problems if problem.subject == damaged
    }
    assert check(store, deep=True) == ()


def test_what_the_killed_leave_is_no_fault(store: Store) -> None:
    store.snapshots.add(SnapshotRecord(id="removed"))
    (store.snapshots_directory / "unrecorded/fs").mkdir(parents=True)
    (store.snapshots_directory / "leased/fs").mkdir(parents=True)
    with store.leases.hold(["leased"]):
        problems = check(store, deep=True)
    repair(store, problems)

    assert [(problem.kind, problem.subject, problem.is_fault) for problem in problems] == [
        ("record", "removed", False),
        ("snapshot", "unrecorded", False),
    ]
    assert [problem.subject for problem in check(store)] == ["leased"]


def test_an_image_may_be_here_in_part(store: Store) -> None:
    config = store.blobs.put(b"{}")
    here = store.blobs.put(json.dumps({"config": {"digest": config}}).encode())
    listed = [{"digest": here}, {"digest": sha256(b"another platform")}]
    index = store.blobs.put(json.dumps({"manifests": listed}).encode())
    store.refs.set("image", json.dumps({"digest": index}))
    whole = check(store)
    store.blobs.remove(config)

    assert whole == ()
    assert [problem.text for problem in check(store)] == [
        f"the image image can't be used: {config} is missing"
    ]


def test_scratch_of_the_dead(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        living = store.scratch.name
        (tmp_path / "tmp/1-dead").mkdir()
        found = debris(tmp_path)
        problems = check(store)
        repair(store, problems)

        assert found == ("1-dead",)
        assert [(problem.kind, problem.subject) for problem in problems] == [("scratch", "1-dead")]
        assert os.listdir(tmp_path / "tmp") == [living]
    assert debris(tmp_path / "nowhere") == ()


def test_a_damaged_database_is_set_aside(tmp_path: Path) -> None:
    Store(tmp_path).close()
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    store = Store(tmp_path)
    problems = check(store)
    repair(store, problems)

    assert [problem.kind for problem in problems] == ["database"]
    assert (check(store), store.refs.all()) == ((), ())
    assert (tmp_path / "state.db.damaged").exists()
