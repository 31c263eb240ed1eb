from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.store.checkup import check, repair
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_fresh_store_is_sound(store: Store) -> None:
    store.blobs.put(b"x")

    assert check(store, deep=True) == ()


def test_problems_are_found_and_mended(store: Store) -> None:
    digest = store.blobs.put(b"hello")
    store.blobs.path(digest).write_bytes(b"hallo")
    store.snapshots.add(SnapshotRecord(id="lost"))
    (store.snapshots_folder / "stray/fs").mkdir(parents=True)
    problems = check(store, deep=True)
    repair(store, problems)

    assert [(problem.kind, problem.subject) for problem in problems] == [
        ("record", "lost"),
        ("snapshot", "stray"),
        ("blob", sha256(b"hello")),
    ]
    assert check(store, deep=True) == ()


def test_a_damaged_database_is_set_aside(tmp_path: Path) -> None:
    Store(tmp_path).close()
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    store = Store(tmp_path)
    problems = check(store)
    repair(store, problems)

    assert [problem.kind for problem in problems] == ["database"]
    assert (check(store), store.refs.all()) == ((), ())
    assert (tmp_path / "state.db.damaged").exists()
