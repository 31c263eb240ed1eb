"""What is known of emulated steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.store.emulated import EmulatedRun, EmulatedRuns, EmulatedStepKey
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def key(step: str, base: str = "debian", platform: str = "linux/arm64") -> EmulatedStepKey:
    return EmulatedStepKey(step=step, base=base, platform=platform)


def test_steps_are_met_again_by_op_and_base(store: Store) -> None:
    runs = EmulatedRuns(store.database)
    before = runs.find(key("a"))
    runs.save(key("a"), EmulatedRun(seconds=2.5, strict="/a names this machine"))
    runs.save(key("a", "alpine"), EmulatedRun(seconds=1.0))

    assert before == EmulatedRun()
    assert runs.find(key("a")) == EmulatedRun(seconds=2.5, strict="/a names this machine")
    assert runs.find(key("a", "alpine")) == EmulatedRun(seconds=1.0)


def test_what_all_steps_of_a_base_took(store: Store) -> None:
    runs = EmulatedRuns(store.database)
    before = runs.total(key("b"))
    for step, seconds in (("a", 2.0), ("b", 3.0), ("b", 4.0)):
        runs.save(key(step), EmulatedRun(seconds=seconds))
    runs.save(key("c", platform="linux/riscv64"), EmulatedRun(seconds=100.0))
    runs.save(key("d", "alpine"), EmulatedRun(seconds=100.0))

    assert (before, runs.total(key("x"))) == (None, 6.0)


def test_what_looks_like_a_twin_is_known_as_long_as_the_layer_is(store: Store) -> None:
    runs = EmulatedRuns(store.database)
    for name in ("a", "b"):
        store.snapshots.add(SnapshotRecord(id=name))
    runs.save_unlike("a", "twins-1", "")
    runs.save_unlike("b", "twins-1", "/bin/sh")
    found = [runs.find_unlike(each, "twins-1") for each in ("a", "b", "c")]
    store.snapshots.remove("b")
    runs.save_unlike("a", "twins-2", "")

    assert found == ["", "/bin/sh", None]
    assert runs.find_unlike("b", "twins-1") is None
    assert runs.find_unlike("a", "twins-1") == ""
