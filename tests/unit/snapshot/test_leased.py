from pathlib import Path

import pytest

from polyarch.snapshot.leased import LeasedSnapshotter
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.gc import collect
from polyarch.store.policy import Policy
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store

A, B, C, D = map(SnapshotID, "abcd")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_whatever_was_looked_for_stays(store: Store) -> None:
    with store.leases.hold() as lease:
        snapshots = LeasedSnapshotter(NativeSnapshotter(store), lease)
        snapshots.unpack(A, lambda directory: (directory / "file").touch())
        with snapshots.prepare([A]) as draft:
            (draft.root / "more").touch()
            draft.commit(B)
        with snapshots.view([A, B]) as root:
            seen = sorted(path.name for path in root.iterdir())
        found = (snapshots.exists(A), snapshots.exists(C))
        for name in (A, B, D):
            store.snapshots.add(SnapshotRecord(id=name))
        (store.snapshots_directory / "d").mkdir()
        collect(store, [Policy()])

        assert (seen, found) == (["file", "more"], (True, False))
        assert store.leases.held() == {"a", "b", "c"}
        assert [record.id for record in store.snapshots.all()] == ["a", "b"]


def test_a_draft_is_leased_before_it_can_be_seen(store: Store) -> None:
    with store.leases.hold() as lease:
        snapshots = LeasedSnapshotter(NativeSnapshotter(store), lease)
        with snapshots.prepare([]) as draft:
            assert draft.seal() == draft.upper
            before = store.leases.held()
            draft.commit(D)

        assert (before, sorted(store.leases.held())) == (frozenset(), ["d"])
        assert snapshots.path(D).is_dir()
        assert snapshots.usage(D) > 0
        snapshots.remove(D)
        assert not snapshots.exists(D)
