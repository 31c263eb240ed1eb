"""Which results are nothing without a snapshot: by the table, and as their texts say."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyarch.digest import sha256
from polyarch.request.explanation import Explanation
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerRef, LayerStack, take_apart
from polyarch.solver.key import CacheKey, Ingredients
from polyarch.store.database import Database
from polyarch.store.results import Results
from polyarch.why.history import History, Project, TraceRow
from polyarch.why.trace import Slot, Trace
from tests.support.fakes.solving import MemoryDatabase, make_records

APP = Project(context="/app")
# As versions before the table of results made their tables, and forgot.
OLD_TABLES = """
CREATE TABLE records (key TEXT PRIMARY KEY, identity TEXT NOT NULL, result TEXT NOT NULL, step TEXT NOT NULL,
    explain TEXT NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL, uses INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE traces_1 (project TEXT NOT NULL, slot TEXT NOT NULL, made TEXT NOT NULL, op TEXT NOT NULL,
    body TEXT NOT NULL, listings BLOB, result TEXT NOT NULL, written REAL NOT NULL, collected INTEGER NOT NULL,
    PRIMARY KEY (project, slot, made));
"""
NAMES = [f"{kind}-{number}" for kind in ("step", "image") for number in range(4)]
STACKS = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True), min_size=1, max_size=8
)


def stack(*names: str) -> LayerStack:
    return LayerStack(layers=tuple(LayerRef(snapshot=SnapshotID(name)) for name in names))


def trace(number: int) -> Trace:
    slot = Slot(platform="linux/amd64", stage="0", number=number, kind="ExecOp")
    return Trace(slot=slot, op=sha256(b"%d" % number), text="RUN x", form={})


class Kept:
    """A store's database with a record and a trace of each of some stacks."""

    def __init__(self, path: Path, *, is_old: bool = False) -> None:
        self.path = path
        self.database = Database(path)
        if is_old:
            with sqlite3.connect(path) as connection:
                connection.executescript(OLD_TABLES)
            connection.close()

    def write_as_before(self, stacks: list[list[str]]) -> None:
        with self.database.transaction():
            for number, names in enumerate(stacks):
                made, whole = trace(number), stack(*names)
                self.database.execute(
                    "INSERT INTO records VALUES (?, ?, ?, '', '{}', 0, 0, 0)",
                    (f"key-{number}", whole.identity, whole.to_json()),
                )
                self.database.execute(
                    "INSERT INTO traces_1 VALUES (?, ?, '', ?, ?, x'00', ?, 0, 0)",
                    (APP.to_text(), made.slot.to_text(), made.op, made.to_json(), whole.to_json()),
                )

    def write(self, stacks: list[list[str]]) -> None:
        records, history = make_records(self.database), History(self.database)
        rows: list[TraceRow] = []
        for number, names in enumerate(stacks):
            whole = stack(*names)
            record = records.make(
                identity=f"as another machine says: {number}",
                result=whole.to_json(),
                step="",
                ingredients=Ingredients(op=sha256(b""), inputs=()),
            )
            records.save([CacheKey(f"key-{number}")], record)
            rows.append(TraceRow(trace=trace(number), listings={}, result=whole.to_json()))
        history.save(APP, rows, list[Explanation]())

    def forget_as_before(self, parts: list[str]) -> None:
        for part in parts:
            self.database.execute("DELETE FROM records WHERE instr(result, ?) > 0", (part,))
            self.database.execute(
                "UPDATE traces_1 SET listings = NULL, collected = 1 WHERE instr(result, ?) > 0",
                (part,),
            )

    def forget(self, parts: list[str]) -> None:
        results = Results(self.database, take_apart)
        records, history = make_records(self.database), History(self.database)
        with self.database.transaction():
            gone = results.forget_parts(parts)
            records.forget_all(gone)
            history.forget_all(gone)

    def left(self, traces: str) -> tuple[list[object], list[object]]:
        """Return the keys of the records, and the slots of the traces whose results are there."""
        keys = self.database.execute("SELECT key FROM records ORDER BY key")
        statement = {
            "traces_1": "SELECT slot FROM traces_1 WHERE collected = 0 ORDER BY slot",
            "traces_2": "SELECT slot FROM traces_2 WHERE collected = 0 ORDER BY slot",
        }[traces]
        return list(keys), list(self.database.execute(statement))


@pytest.fixture
def results() -> Iterator[Results]:
    database = MemoryDatabase()
    yield Results(database, take_apart)
    database.close()


def test_a_part_takes_all_results_along_that_it_is_in(results: Results) -> None:
    for names in (["a"], ["a", "b"], ["a", "b", "c"], ["a", "d"], ["c"]):
        results.add(stack(*names).to_json())

    assert set(results.forget_parts(["b", "d"])) == {
        stack("a", "b").identity,
        stack("a", "b", "c").identity,
        stack("a", "d").identity,
    }
    assert results.forget_parts(["b", "d"]) == ()
    assert set(results.forget_parts(["a", "c"])) == {stack("a").identity, stack("c").identity}


def test_a_result_is_added_with_its_layers_below_once() -> None:
    database = MemoryDatabase()
    results = Results(database, take_apart)
    added = [results.add(stack("a", "b").to_json()) for _ in range(2)]
    results.add(stack("a", "b", "c").to_json())

    assert added == [stack("a", "b").identity] * 2
    assert database.execute("SELECT part FROM results_1 ORDER BY part") == [("a",), ("b",), ("c",)]
    database.close()


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"a": 1}'])
def test_a_text_that_cannot_be_read_has_no_identity(results: Results, text: str) -> None:
    assert results.add(text) == ""


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stacks=STACKS, parts=st.lists(st.sampled_from(NAMES), max_size=3))
def test_the_table_forgets_what_a_search_of_the_texts_forgot(
    tmp_path_factory: pytest.TempPathFactory, stacks: list[list[str]], parts: list[str]
) -> None:
    directory = tmp_path_factory.mktemp("stores")
    before, taken_over = (Kept(directory / name, is_old=True) for name in ("before", "taken"))
    new = Kept(directory / "new")
    for old in before, taken_over:
        old.write_as_before(stacks)
    new.write(stacks)
    before.forget_as_before(parts)
    for kept in taken_over, new:
        kept.forget(parts)

    assert before.left("traces_1") == taken_over.left("traces_2") == new.left("traces_2")
    for each in before, taken_over, new:
        each.database.close()


def test_what_an_older_version_wrote_is_taken_over_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state.db", is_old=True)
    kept.write_as_before([["step-1"], ["step-1", "step-2"]])
    for _ in range(2):
        make_records(kept.database)
        history = History(kept.database)
    kept.forget(["step-2"])

    assert kept.left("traces_2") == ([("key-0",)], [(trace(0).slot.to_text(),)])
    assert {each.slot.number: each.is_collected for each in history.traces(APP)} == {
        0: False,
        1: True,
    }
    kept.database.close()
