import os
import signal
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import StoreError
from polyarch.store.store import Store


def scratches(root: Path) -> list[str]:
    return sorted(os.listdir(root / "tmp"))


def kill_while(action: str, root: Path) -> None:
    """Let a child open the store, do something, and be killed in the middle of it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        store = Store(root)
        if action == "blob":
            store.blobs.writer().write(b"half a blob")
        else:
            (store.scratch / "deep" / "er").mkdir(parents=True)
        os.write(writer, b".")
        signal.pause()
    os.read(reader, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def test_store_makes_its_layout(tmp_path: Path) -> None:
    Store(tmp_path / "a/b").close()

    found = set(os.listdir(tmp_path / "a/b")) - {"reserve"}  # where the disk has room for it
    assert found == {"blobs", "locks", "snapshots", "tmp", "version"}


@pytest.mark.parametrize("action", ["blob", "directory"])
def test_debris_of_the_killed_is_removed_by_the_next(tmp_path: Path, action: str) -> None:
    kill_while(action, tmp_path)
    before = len(scratches(tmp_path))
    store = Store(tmp_path)

    assert (before, scratches(tmp_path), list(store.blobs)) == (1, [], [])


def test_scratch_of_the_living_stays(tmp_path: Path) -> None:
    first = Store(tmp_path)
    kept = first.scratch
    second = Store(tmp_path)

    assert kept.is_dir()
    assert second.scratch != kept
    first.close()
    second.close()
    assert scratches(tmp_path) == []


def test_scratch_of_a_fork_is_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    parent = store.scratch
    child = os.fork()
    if child == 0:
        os._exit(0 if store.scratch != parent and store.refs.find("x") is None else 1)

    assert os.waitpid(child, 0)[1] == 0


def test_another_layout_is_refused(tmp_path: Path) -> None:
    Store(tmp_path)
    (tmp_path / "version").write_text("99")

    with pytest.raises(StoreError, match="has layout '99', and this polyarch knows 1, 2, 3"):
        Store(tmp_path)


def test_a_store_with_references_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before = (tmp_path / "version").read_text()
    store.know_references()
    store.know_references()

    assert (before, (tmp_path / "version").read_text()) == ("1\n", "2\n")
    assert Store(tmp_path).refs.all() == ()


def test_a_store_with_sockets_for_whiteouts_stays_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.know_sockets()
    Store(tmp_path).know_references()

    assert ((tmp_path / "version").read_text(), store.has_sockets) == ("3\n", True)


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="can't open the store"):
        Store(tmp_path / "file")


def test_discard_removes_a_tree(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "snapshots/x/fs").mkdir(parents=True)

    store.discard(tmp_path / "snapshots/x")
    store.discard(tmp_path / "snapshots/x")

    assert os.listdir(tmp_path / "snapshots") == []


def test_a_store_that_ends_with_its_process_syncs_nothing(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with Store(tmp_path, ends=True) as store:
            store.refs.set("name", "{}")
        os._exit(0)
    os.waitpid(child, 0)

    assert (tmp_path / "state.db-wal").stat().st_size > 0
    with Store(tmp_path) as store:
        assert store.refs.get("name").descriptor == "{}"
    assert not (tmp_path / "state.db-wal").exists()


def test_a_long_log_is_carried_over_at_the_end(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with Store(tmp_path, ends=True) as store:
            store.refs.set("name", "x" * (1 << 20))
        os._exit(0)
    os.waitpid(child, 0)

    assert not (tmp_path / "state.db-wal").exists()


def test_two_processes_write_one_blob(tmp_path: Path) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            Store(tmp_path).blobs.put(b"x" * 100_000)
            os._exit(0)
        children.append(child)

    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    assert list(Store(tmp_path).blobs) == [(sha256(b"x" * 100_000), 100_000)]


def test_a_process_that_rests_holds_no_blobs(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        first = store.blobs.put(b"one")
        held = store.leases.held()
        store.rest()
        rested = store.leases.held()
        second = store.blobs.put(b"two")

        assert (sorted(held), sorted(rested)) == ([first], [])
        assert sorted(store.leases.held()) == [second]
