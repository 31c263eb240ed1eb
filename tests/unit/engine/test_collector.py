"""When the collector beside builds is due, what it does when it is told to look, and that it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyarch.engine.background import Background, first_line
from polyarch.engine.collector import follow
from polyarch.engine.due import is_due, note_collection
from polyarch.store.policy import Policy
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store

CEILING = "[worker.oci]\nmaxUsedSpace = 1000\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", works=False)


def add(store: Store, name: str, size: int) -> None:
    (store.snapshots_directory / name / "fs").mkdir(parents=True)
    store.snapshots.add(SnapshotRecord(id=name, size=size))


def left(store: Store) -> list[str]:
    return sorted(os.listdir(store.snapshots_directory))


def test_due_is_what_comes_near_a_bound(store: Store) -> None:
    policies = [Policy(max_used=1, keep_seconds=60), Policy(max_used=1000)]
    add(store, "a", 800)
    store.blobs.put(b"x" * 100)

    assert [is_due(store, policies, share=share) for share in (0.8, 1.0)] == [True, False]
    assert not is_due(store, [])
    assert is_due(store, [Policy(min_free=1 << 62)])


def test_due_is_what_nobody_has_measured(store: Store) -> None:
    add(store, "a", 0)

    assert is_due(store, [Policy(max_used=1000)])


def test_due_is_a_store_that_was_not_collected_for_an_hour(store: Store) -> None:
    policies = [Policy(max_used=1000)]
    first = is_due(store, policies)
    os.utime(store.root / "collected", (0, 0))
    late = is_due(store, policies)
    note_collection(store)

    assert (first, late, is_due(store, policies)) == (False, True, False)


def test_the_collector_looks_when_it_is_told_and_at_the_end(store: Store) -> None:
    add(store, "a", 900)
    add(store, "b", 900)
    ours, theirs = os.pipe()
    os.write(theirs, first_line(store, CEILING))
    os.close(theirs)
    with store.leases.hold(["a"]):
        follow(ours)
    os.close(ours)

    assert left(store) == ["a"]


def test_a_growing_store_has_a_collector_until_builds_end(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        background = Background(store, {})
        background.use(CEILING)
        background.grew()
        add(store, "a", 900)
        add(store, "b", 900)
        background.finish()

        assert left(store) in (["a"], ["b"])


def test_settings_that_cannot_be_read_fail_no_build(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        background = Background(store, {})
        background.use("[worker.oci]\nmaxUsedSpace = 'much'\n")
        add(store, "a", 900)
        background.grew()
        background.finish()

        assert left(store) == ["a"]


def test_the_settings_of_the_user_hold_where_none_are_told(tmp_path: Path) -> None:
    config = tmp_path / "config/buildkit/buildkitd.toml"
    config.parent.mkdir(parents=True)
    config.write_text(CEILING)
    with Store(tmp_path / "store") as store:
        background = Background(store, {"XDG_CONFIG_HOME": str(tmp_path / "config")})
        add(store, "a", 900)
        add(store, "b", 900)
        background.grew()
        background.finish()

        assert len(left(store)) == 1
