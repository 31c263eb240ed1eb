import json
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from polyarch.digest import DiffID, Digest, sha256
from polyarch.store.downloads import Download, Downloads
from polyarch.store.gc import Freed, collect
from polyarch.store.layers import LayerBlob
from polyarch.store.policy import Policy
from polyarch.store.refs import RefKind
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.usage import usage

GB = 10**9
NOW = time.time()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, works=False)


def add(
    store: Store,
    name: str,
    *,
    days: float = 0.0,
    uses: int = 0,
    size: int = 100,
    parents: tuple[str, ...] = (),
    kind: RecordType = RecordType.REGULAR,
    diff_id: DiffID | None = None,
) -> None:
    (store.snapshots_directory / name / "fs").mkdir(parents=True)
    used = NOW - days * 86400
    store.snapshots.add(
        SnapshotRecord(
            id=name,
            parents=parents,
            size=size,
            created=used,
            last_used=used,
            uses=uses,
            type=kind,
            diff_id=diff_id,
        )
    )


def left(store: Store) -> str:
    present = sorted(os.listdir(store.snapshots_directory))
    assert present == [record.id for record in store.snapshots.all()]
    return "".join(present)


def image(store: Store, name: str, layer: Digest, kind: RefKind = RefKind.IMAGE) -> list[Digest]:
    config = store.blobs.put(f"config {name}".encode())
    manifest = store.blobs.put(
        json.dumps({"config": {"digest": config}, "layers": [{"digest": layer}]}).encode()
    )
    index = store.blobs.put(json.dumps({"manifests": [{"digest": manifest}]}).encode())
    store.refs.set(name, json.dumps({"digest": index}), kind)
    return [config, manifest, index]


def test_no_bounds_removes_all_that_matches(store: Store) -> None:
    add(store, "a")
    add(store, "b", parents=("a",))
    add(store, "c", kind=RecordType.INTERNAL)
    freed = collect(store, [Policy()])

    assert ([entry.record.id for entry in freed.snapshots], freed.size, left(store)) == (
        ["b", "a"],
        200,
        "c",
    )


def test_oldest_and_least_used_go_first(store: Store) -> None:
    add(store, "a", days=1, uses=9)
    add(store, "b", days=2, uses=1)
    add(store, "c", days=3, uses=2)
    freed = collect(store, [Policy(max_used=200)])

    assert ([entry.record.id for entry in freed.snapshots], left(store)) == (["c", "b"], "a")


def test_keep_duration_and_types(store: Store) -> None:
    add(store, "a", days=3)
    add(store, "b", days=3, kind=RecordType.CACHE_MOUNT)
    add(store, "c", days=1, kind=RecordType.CACHE_MOUNT)
    policy = Policy(types=frozenset({RecordType.CACHE_MOUNT}), keep_seconds=2 * 86400, max_used=1)
    collect(store, [policy])

    assert left(store) == "ac"


def test_reserved_stays(store: Store) -> None:
    for name in "abc":
        add(store, name)
    collect(store, [Policy(max_used=1, reserved=250)])

    assert left(store) == "bc"


def test_enough_free_space_removes_nothing(store: Store) -> None:
    add(store, "a", days=90)

    assert collect(store, [Policy(min_free=1)]) == Freed()


def test_filters(store: Store) -> None:
    add(store, "a")
    add(store, "b")
    collect(store, [Policy(matches=lambda entry: entry.record.id == "b")])

    assert left(store) == "a"


def test_leased_and_their_parents_stay(store: Store) -> None:
    add(store, "a")
    add(store, "b", parents=("a",))
    add(store, "c")
    with store.leases.hold(["b"]):
        collect(store, [Policy()])

        assert left(store) == "ab"
        add(store, "d", parents=("a",))
        assert [(u.record.id, u.in_use) for u in usage(store)] == [
            ("a", True),
            ("b", True),
            ("d", False),
        ]


def test_shared_with_an_image_stays_unless_all(store: Store) -> None:
    layer = store.blobs.put(b"layer")
    diff_id = DiffID(sha256(b"tar"))
    store.layers.add(
        LayerBlob(digest=layer, diff_id=diff_id, media_type="t", size=5, compression="gzip")
    )
    image(store, "x", layer)
    add(store, "a", diff_id=diff_id)
    shared = [entry.shared for entry in usage(store)]
    collect(store, [Policy()])
    kept = left(store)
    collect(store, [Policy(all=True)])

    assert (shared, kept, left(store)) == ([True], "a", "")


def test_forget_is_told(store: Store) -> None:
    add(store, "a")
    told: list[str] = []
    collect(store, [Policy()], forget=told.extend)

    assert told == ["a"]


def test_blobs_that_nothing_reaches_go(store: Store) -> None:
    layer, pulled, leased, stray = (store.blobs.put(name) for name in (b"1", b"2", b"3", b"4"))
    kept = image(store, "x", layer)
    documents = image(store, "remote", pulled, RefKind.SOURCE)
    with store.leases.hold([leased]):
        freed = collect(store, [])

    assert freed == Freed(blobs=tuple(sorted([pulled, stray])), size=2)
    assert {digest for digest, _ in store.blobs} == {*kept, *documents, layer, leased}


def test_what_nothing_refers_to_yet_stays_with_whoever_added_it(
    store: Store, tmp_path: Path
) -> None:
    store.blobs.put(b"of somebody who is gone")
    with Store(tmp_path) as worker, worker.leases.hold(["fresh"]):
        worker.blobs.put(b"not referred to yet")
        for name in ("fresh", "left"):
            (worker.snapshots_directory / name / "fs").mkdir(parents=True)
        during = collect(store, [])
        there = os.listdir(store.snapshots_directory)
    after = collect(store, [])

    assert (during.blobs, there) == ((sha256(b"of somebody who is gone"),), ["fresh"])
    assert (after.blobs, left(store)) == ((sha256(b"not referred to yet"),), "")


def test_a_name_that_is_set_while_blobs_are_sought_keeps_its_own(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process may be gone, with its leases, when the blobs are swept."""
    late: list[Digest] = []

    def frozen() -> AbstractContextManager[frozenset[str]]:
        if not late:
            with Store(tmp_path) as other:
                layer = other.blobs.put(b"a layer")
                late.extend([layer, *image(other, "late", layer)])
        return found()

    with Store(tmp_path) as other:
        other.blobs.put(b"a layer")
    found = store.leases.frozen
    monkeypatch.setattr(store.leases, "frozen", frozen)

    assert collect(store, []).blobs == ()
    assert {digest for digest, _ in store.blobs} == set(late)


def test_a_pushed_image_is_a_record_of_the_cache(store: Store) -> None:
    layer = store.blobs.put(b"x" * 1000)
    documents = image(store, "app:1", layer, RefKind.PUSHED)
    size = sum(map(store.blobs.size, (layer, *documents)))
    [entry] = usage(store)
    kept = collect(store, [Policy(keep_seconds=60.0)])
    [gone] = collect(store, [Policy()]).snapshots

    assert entry.record.description == "pushed as app:1"
    assert (entry.size, gone.size) == (size, size)
    assert (kept, gone.pushed) == (Freed(), entry.pushed)
    assert (store.refs.find("app:1"), list(store.blobs)) == (None, [])


def test_a_ceiling_counts_what_a_removed_snapshot_leaves_to_a_pushed_image(store: Store) -> None:
    layer = store.blobs.put(b"x" * 1000)
    diff_id = DiffID(sha256(b"plain"))
    store.layers.add(
        LayerBlob(digest=layer, diff_id=diff_id, media_type="m", size=1000, compression="gzip")
    )
    image(store, "app:1", layer, RefKind.PUSHED)
    add(store, "a", days=1, size=500, diff_id=diff_id)
    collect(store, [Policy(max_used=900)])

    assert (left(store), store.refs.find("app:1"), list(store.blobs)) == ("", None, [])


def test_a_pushed_name_that_is_kept_as_well_keeps_its_image(store: Store) -> None:
    """It was kept, and this very image was pushed; or it was pushed, and then loaded."""
    layer = store.blobs.put(b"a layer")
    for kinds in ((RefKind.IMAGE, RefKind.PUSHED), (RefKind.PUSHED, RefKind.IMAGE)):
        for kind in kinds:
            image(store, "app:1", layer, kind)
        collect(store, [Policy(all=True)])

        assert [ref.kind for ref in store.refs.all()] == [RefKind.IMAGE]


def test_a_kept_name_becomes_a_pushed_one_with_another_image(store: Store) -> None:
    image(store, "app:1", store.blobs.put(b"old"))
    image(store, "app:1", store.blobs.put(b"new"), RefKind.PUSHED)

    assert [ref.kind for ref in store.refs.all()] == [RefKind.PUSHED]


def test_a_file_of_a_web_server_is_a_record_of_the_cache(store: Store) -> None:
    digest = store.blobs.put(b"a file")
    downloads = Downloads(store.database)
    downloads.add(Download(url="http://server/file", digest=digest))
    collect(store, [])
    kept = store.blobs.has(digest)
    [gone] = collect(store, [Policy()]).snapshots

    assert (kept, gone.record.description) == (True, "fetched from http://server/file")
    assert (downloads.all(), list(store.blobs)) == ((), [])


def test_who_leases_first_keeps_and_who_comes_later_finds_nothing(store: Store) -> None:
    add(store, "a")
    add(store, "b")
    seen: list[bool] = []

    def later(ids: object) -> None:
        # In the midst of the removal: who leases it only now looks for it in vain.
        seen.append((store.snapshots_directory / "b").exists())

    with store.leases.hold(["a"]):
        collect(store, [Policy()], forget=later)

        assert (left(store), seen) == ("a", [False])


def test_sizes_are_found_out_when_somebody_asks(store: Store) -> None:
    add(store, "a", size=0)
    (store.snapshots_directory / "a/fs/file").write_bytes(b"x" * 10_000)
    layer = store.blobs.put(b"layer")
    diff_id = DiffID(sha256(b"tar"))
    store.layers.add(
        LayerBlob(digest=layer, diff_id=diff_id, media_type="t", size=5, compression="gzip")
    )
    store.snapshots.set_diff_id("a", diff_id)
    (found,) = usage(store)

    assert found.record.size >= 10_000
    assert (found.size - found.record.size, found.shared) == (5, False)
    assert store.snapshots.all() == (found.record,)
    image(store, "x", layer)
    assert [(each.blob_size, each.shared) for each in usage(store)] == [(0, True)]


def test_directories_without_a_record_go(store: Store) -> None:
    (store.snapshots_directory / "stray/fs").mkdir(parents=True)
    collect(store, [])

    assert left(store) == ""


def test_a_second_collector_does_nothing(store: Store) -> None:
    add(store, "a")
    with store.locks.exclusive("gc"):
        assert collect(store, [Policy()]) == Freed(complete=False)


def test_what_was_used_in_the_future_goes_in_its_time(store: Store) -> None:
    """A clock that was wrong for a while must not keep things for years."""
    add(store, "a", days=-4000)
    store.refs.set("b", "{}", RefKind.SOURCE)
    store.database.execute("UPDATE refs_1 SET updated = ?", (NOW + 4000 * 86400,))

    collect(store, [Policy(keep_seconds=86400)])

    record = store.snapshots.find("a")
    assert record is not None
    assert NOW <= record.last_used <= time.time()
    assert NOW <= store.refs.get("b", RefKind.SOURCE).updated <= time.time()


@pytest.mark.parametrize("days", [1, -1])
def test_a_use_is_noted_whichever_way_the_clock_was_wrong(store: Store, days: int) -> None:
    add(store, "a", days=days)
    store.snapshots.touch(["a"])

    record = store.snapshots.find("a")
    assert record is not None
    assert (record.uses, NOW <= record.last_used <= time.time()) == (1, True)
