"""What is remembered of copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.store.copies import CopiedDirectory, Copies, Copy
from polyarch.store.database import Database
from polyarch.store.snapshots import SnapshotRecord, SnapshotRecords


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "state.db")
    records = SnapshotRecords(database)
    for name in "one", "two":
        records.add(SnapshotRecord(id=name))
    yield database
    database.close()


def test_a_whole_copy_is_found_by_its_step(database: Database) -> None:
    stamps = {"a": bytes(32), "b\udcff": b"x" * 32}
    directories = {
        "/": CopiedDirectory.of({"d": b"y" * 32}, b"t" * 32),
        "/d/": CopiedDirectory.of({}, b"u" * 32),
        "/d/\udcff/": CopiedDirectory.of(stamps),
    }
    copy = Copy(snapshot="one", directories=directories)
    Copies(database).save("step", copy)

    assert Copies(database).find("step") == copy
    assert Copies(database).find("other") is None
    assert directories["/d/\udcff/"].stamps() == stamps
    assert directories["/d/"].stamps() == {}
    assert copy.size == 3


def test_a_copy_that_cannot_be_read_is_none(database: Database) -> None:
    found = CopiedDirectory.of({"d": b"y" * 32})
    Copies(database).save("step", Copy(snapshot="one", directories={"/": found}))
    database.execute("UPDATE copies_2 SET names = ?", (b"/\0d\0e",))

    assert Copies(database).find("step") is None


def test_places_are_found_by_their_snapshot(database: Database) -> None:
    places = {1: ["a", "d/b\udcff", "new\nline"], 3: ["ü"]}
    Copies(database).save_places("one", places)

    assert Copies(database).find_places("one") == {
        number: tuple(paths) for number, paths in places.items()
    }
    assert Copies(database).find_places("two") == {}


def test_places_in_snapshots_that_are_gone_are_forgotten(database: Database) -> None:
    Copies(database).save_places("one", {1: ["a"]})
    SnapshotRecords(database).remove("one")
    Copies(database).save_places("two", {1: ["a"]})

    assert Copies(database).find_places("one") == {}
    assert Copies(database).find_places("two") == {1: ("a",)}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": ["a"]}', '{"1": 2}'])
def test_places_that_cannot_be_read_are_none(database: Database, text: str) -> None:
    Copies(database).save_places("one", {1: ["a"]})
    database.execute("UPDATE places_1 SET places = ?", (text,))

    assert Copies(database).find_places("one") == {}
