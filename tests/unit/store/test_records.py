import os
import signal
from pathlib import Path

import pytest

from polyarch.digest import DiffID, Digest, sha256
from polyarch.errors import NotFound
from polyarch.store.layers import LayerBlob
from polyarch.store.refs import RefKind
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store

BLOB = LayerBlob(
    digest=sha256(b"z"),
    diff_id=DiffID(sha256(b"t")),
    media_type="application/vnd.oci.image.layer.v1.tar+gzip",
    size=3,
    compression="gzip",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_refs_are_set_listed_and_deleted(store: Store) -> None:
    store.refs.set("b", '{"digest": "2"}')
    store.refs.set("a", '{"digest": "1"}')
    store.refs.set("a", '{"digest": "3"}')
    store.refs.set("s", "{}", RefKind.SOURCE)

    assert [(ref.name, ref.descriptor) for ref in store.refs.all()] == [
        ("a", '{"digest": "3"}'),
        ("b", '{"digest": "2"}'),
    ]
    assert (store.refs.delete("a"), store.refs.delete("a"), store.refs.find("a")) == (
        True,
        False,
        None,
    )


def test_refs_get_names_what_is_missing(store: Store) -> None:
    with pytest.raises(NotFound, match="no image named 'x' in the store"):
        store.refs.get("x")


def test_layers_are_found_by_both_names(store: Store) -> None:
    store.layers.add(BLOB)

    assert store.layers.find(BLOB.digest) == BLOB
    assert store.layers.blobs_of(BLOB.diff_id) == store.layers.all() == (BLOB,)


def test_layers_sources(store: Store) -> None:
    store.layers.add_sources("registry:5000", "a", [BLOB.digest])
    store.layers.add_sources("registry:5000", "b", [BLOB.digest])
    found = store.layers.sources(BLOB.digest, "registry:5000")
    store.layers.forget([BLOB.digest])

    assert found == ("b", "a")
    assert store.layers.all_sources(BLOB.digest) == ()


def test_snapshot_records_keep_their_uses(store: Store) -> None:
    record = SnapshotRecord(
        id="a", parents=("p",), size=5, created=1.0, last_used=2.0, type=RecordType.CACHE_MOUNT
    )
    store.snapshots.add(record)
    store.snapshots.touch(["a"])
    store.snapshots.add(record)
    store.snapshots.set_diff_id("a", BLOB.diff_id)
    found = store.snapshots.find("a")

    assert found is not None
    assert (found.uses, found.last_used > 2.0, found.parents, found.type) == (
        2,
        True,
        ("p",),
        "exec.cachemount",
    )


def test_leases_end_with_their_block(store: Store) -> None:
    with store.leases.hold(["a"]) as lease:
        lease.add("b", "a")
        with store.leases.hold(["c"]):
            during = store.leases.held()

    assert (during, store.leases.held()) == (frozenset("abc"), frozenset())


def test_leases_of_the_killed_count_for_nothing(store: Store, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with Store(tmp_path).leases.hold(["a"]):
            os.write(writer, b".")
            signal.pause()
    os.read(reader, 1)
    before = store.leases.held()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert (before, store.leases.held()) == (frozenset("a"), frozenset())


def test_digest_types_survive(store: Store) -> None:
    store.layers.add(BLOB)
    found = store.layers.find(Digest(str(BLOB.digest)))

    assert found is not None
    assert found.level is None
