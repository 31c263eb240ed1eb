"""A snapshotter is looked for when a tree is first wanted, not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.snapshot.choose import LateSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.store import Store

SOME = SnapshotID("some")


def test_an_unknown_name_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown snapshotter 'btrfs'"):
        LateSnapshotter(Store(tmp_path), "btrfs")


def test_looking_for_snapshots_tries_nothing(tmp_path: Path) -> None:
    snapshots = LateSnapshotter(Store(tmp_path))

    snapshots.unpack(SOME, lambda directory: (directory / "file").write_text("text"))

    assert snapshots.exists(SOME)
    assert (snapshots.path(SOME) / "file").read_text() == "text"
    assert snapshots._opened is None


def test_a_tree_is_given_by_the_one_that_was_asked_for(tmp_path: Path) -> None:
    snapshots = LateSnapshotter(Store(tmp_path), "native")

    with snapshots.prepare([]) as draft:
        (draft.root / "file").write_text("text")
        draft.commit(SOME)

    with snapshots.view([SOME]) as root:
        assert (root / "file").read_text() == "text"
    assert snapshots.name == "native"
