from __future__ import annotations

import time
from pathlib import Path

import pytest

from polyarch.store.statindex import NO_CONTENT, NO_STAMP, STAMP, DirectoryStamps
from polyarch.store.store import Store

NOW = time.time_ns()
FILE, LINK, DIRECTORY, PIPE = 0o100644, 0o120777, 0o040755, 0o010644
CONTENT = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def stamp(*, mtime: int = 1_000_000_001, ctime: int = 1_000_000_002, mode: int = FILE) -> bytes:
    return STAMP.pack(5, mtime, ctime, 1 << 63, mode, 1)


def directory(**files: tuple[bytes, bytes]) -> DirectoryStamps:
    """Return what is known of some files, with a digest."""
    found = DirectoryStamps.of(files)
    return DirectoryStamps(
        names=found.names, stamps=found.stamps, contents=found.contents, digest=bytes(31) + b"1"
    )


def after_saving(store: Store, found: DirectoryStamps) -> DirectoryStamps:
    store.stat_index.save("/context", {"/context/d": found}, scanned_ns=NOW)
    return store.stat_index.load("/context")["/context/d"]


def test_what_is_saved_comes_out_again(store: Store) -> None:
    tree = {
        "/c": directory(),
        "/c/odd\udcff": directory(a=(stamp(), CONTENT), b=(stamp(mode=LINK), CONTENT)),
        "/c/more": DirectoryStamps.of({"odd\udcfe": (stamp(), CONTENT)}),
    }
    store.stat_index.save("/c", tree, scanned_ns=NOW)

    assert store.stat_index.load("/c") == tree
    assert store.stat_index.load("/other") == {}
    store.stat_index.forget(time.time() + 1)
    assert store.stat_index.load("/c") == {}


RACY = stamp(mtime=NOW, ctime=NOW)
COARSE = stamp(mtime=0, ctime=(NOW // 10**9 - 1) * 10**9)


@pytest.mark.parametrize(
    "unsure",
    [(RACY, CONTENT), (COARSE, CONTENT), (NO_STAMP, CONTENT), (stamp(), NO_CONTENT)],
    ids=["just changed", "just changed, by a coarse clock", "out of range", "not read"],
)
def test_what_is_not_sure_is_left_out_with_the_digest(
    store: Store, unsure: tuple[bytes, bytes]
) -> None:
    kept = after_saving(store, directory(sure=(stamp(), CONTENT), unsure=unsure))

    assert kept == DirectoryStamps.of({"sure": (stamp(), CONTENT)})
    assert not kept.is_of(kept.names, kept.stamps)


@pytest.mark.parametrize("mode", [DIRECTORY, PIPE])
def test_what_has_no_content_is_sure(store: Store, mode: int) -> None:
    found = directory(just_made=(stamp(ctime=NOW, mode=mode), NO_CONTENT))

    assert after_saving(store, found) == found


def test_files_are_found_by_name() -> None:
    found = directory(b=(stamp(), CONTENT), c=(stamp(mode=PIPE), NO_CONTENT))

    assert [found.find(name) for name in "abcd"] == [b"", CONTENT, b"", b""]


def test_a_directory_is_unchanged_by_names_and_stamps() -> None:
    found = directory(a=(stamp(), CONTENT))

    assert found.is_of(["a"], stamp())
    assert not found.is_of(["b"], stamp())
    assert not found.is_of(["a"], stamp(mtime=2))


def test_ever_new_trees_have_a_bound(store: Store) -> None:
    for number in range(4):
        tree = {f"/{number}": directory(a=(stamp(), CONTENT))}
        store.stat_index.save(f"/{number}", tree, scanned_ns=NOW)
    (row,) = store.database.execute("SELECT sum(length(names) + length(data)) FROM stat_index_2")

    store.stat_index.forget(0.0, most=int(str(row[0])) // 2)

    kept = [bool(store.stat_index.load(f"/{number}")) for number in range(4)]
    assert kept == [False, False, True, True]
