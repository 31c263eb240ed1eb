from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.doctor.check import Grade
from polyarch.doctor.store import look_at_store
from polyarch.errors import StoreError
from polyarch.solver.key import CacheKey, Ingredients
from polyarch.store.store import Store
from tests.support.fakes.solving import make_records


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, works=False)


def test_a_sound_store_with_leftovers(store: Store) -> None:
    (store.snapshots_directory / "stray/fs").mkdir(parents=True)
    records = make_records(store.database)
    record = records.make(
        identity="i",
        result='[{"snapshot":"step-gone"}]',
        step="s",
        ingredients=Ingredients(op=sha256(b""), inputs=()),
    )
    records.save([CacheKey("key")], record)
    seen = look_at_store(store, ["1-dead"], deep=False, fix=False)
    fixed = look_at_store(store, [], deep=True, fix=True)

    assert seen.is_sound
    assert [(check.grade, check.text.partition("; ")[2]) for check in seen.checks] == [
        (
            Grade.OK,
            "3 things that killed builds have left are harmless, and go by themselves",
        )
    ]
    assert (
        fixed.checks[0].text
        == f"{store.root} is sound (every blob was read, and layers compared); 2 repaired"
    )
    assert (records.results(), os.listdir(store.snapshots_directory)) == ((), [])


def test_faults_and_their_repair(store: Store) -> None:
    for number in range(12):
        digest = store.blobs.put(b"%d" % number)
        store.blobs.path(digest).write_bytes(b"damaged")
    shallow = look_at_store(store, [], deep=False, fix=False)
    deep = look_at_store(store, [], deep=True, fix=False)
    fixed = look_at_store(store, [], deep=True, fix=True)

    assert (shallow.is_sound, deep.is_sound, fixed.is_sound) == (True, False, True)
    assert [check.grade for check in deep.checks] == [Grade.FAIL] * 11
    assert deep.checks[-1].text == "2 more faults"
    assert {check.fix for check in deep.checks} == {"polyarch doctor --repair"}
    assert "12 repaired" in fixed.checks[0].text


def test_nothing_is_repaired_while_others_work(store: Store, tmp_path: Path) -> None:
    store.refs.set("x", json.dumps({"digest": sha256(b"x")}))
    with Store(tmp_path), pytest.raises(StoreError, match="while others work on it"):
        look_at_store(store, [], deep=False, fix=True)

    assert store.refs.find("x") is not None


def test_a_damaged_database(store: Store) -> None:
    store.refs.set("x", "{}")
    store.database.close()
    store.database.path.write_bytes(b"no database" * 1000)
    for name in ("state.db-wal", "state.db-shm"):
        (store.root / name).unlink(missing_ok=True)
    store.database.reset()
    seen = look_at_store(store, [], deep=False, fix=False)
    fixed = look_at_store(store, [], deep=False, fix=True)

    assert (seen.is_sound, fixed.is_sound) == (False, True)
