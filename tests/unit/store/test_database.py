import threading
from pathlib import Path

import pytest

from polyarch.errors import StoreError
from polyarch.store.database import Database

SCHEMA = ("CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY, number INTEGER)",)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "state.db")
    database.ensure(SCHEMA)
    return database


def test_execute_returns_rows(database: Database) -> None:
    database.executemany("INSERT INTO things VALUES (?, ?)", [("a", 1), ("b", 2)])

    assert database.execute("SELECT * FROM things WHERE number > ?", (1,)) == [("b", 2)]


def test_transaction_is_undone_by_an_exception(database: Database) -> None:
    with pytest.raises(StoreError), database.transaction(), database.transaction():
        database.executemany("INSERT INTO things VALUES (?, 1)", [("a",), ("a",)])

    assert database.execute("SELECT * FROM things") == []


def test_transactions_of_threads_wait_for_each_other(database: Database) -> None:
    def count() -> None:
        for _ in range(50):
            with database.transaction():
                row = database.execute("SELECT number FROM things WHERE name = 'n'")[0]
                database.execute("UPDATE things SET number = ?", (int(row[0] or 0) + 1,))

    database.execute("INSERT INTO things VALUES ('n', 0)")
    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert database.execute("SELECT number FROM things") == [(200,)]


def test_errors_are_ours(database: Database) -> None:
    with pytest.raises(StoreError, match="no such table: absent"):
        database.execute("SELECT * FROM absent")


def test_check_finds_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)

    assert Database(tmp_path / "state.db").check() == [
        f"can't use {tmp_path}/state.db: file is not a database"
    ]


def test_close_can_be_followed_by_use(database: Database) -> None:
    database.close()

    assert database.execute("SELECT * FROM things") == []
    assert database.check() == []


def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    refused: list[StoreError] = []

    def first_use(path: Path, start: threading.Barrier) -> None:
        database = Database(path)
        start.wait()
        try:
            database.ensure(SCHEMA)
        except StoreError as error:
            refused.append(error)
        database.close()

    # Without patience one of thirty is refused.
    for number in range(60):
        start = threading.Barrier(6)
        path = tmp_path / f"{number}.db"
        threads = [threading.Thread(target=first_use, args=(path, start)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert refused == []
