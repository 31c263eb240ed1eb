from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.record import replace
from polyarch.solver.key import CacheKey, Ingredients, InputPart, candidate_key
from polyarch.solver.records import Record, Records
from polyarch.store.database import Database
from tests.support.fakes.solving import MemoryDatabase, make_records

ONE, TWO = CacheKey("one"), CacheKey("two")
INGREDIENTS = Ingredients(op=sha256(b"op"), inputs=(InputPart(identity="I"),))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database() -> Iterator[MemoryDatabase]:
    database = MemoryDatabase()
    yield database
    database.close()


@pytest.fixture
def records(database: MemoryDatabase, clock: Clock) -> Records:
    return make_records(database, clock)


def make(records: Records, result: str = "result") -> Record:
    return records.make(identity="S", result=result, step="RUN x", ingredients=INGREDIENTS)


def test_saved_record_is_found_under_all_its_keys(records: Records) -> None:
    record = make(records)
    records.save([ONE, TWO], record)

    assert records.find(ONE) == records.find(TWO) == record
    assert record.ingredients() == INGREDIENTS
    assert record.created == record.last_used == 1000.0


def test_a_step_is_known_by_its_op_while_there_is_a_record_of_it(records: Records) -> None:
    before = records.knows(INGREDIENTS.op)
    records.save([ONE], make(records))
    known = (records.knows(INGREDIENTS.op), records.knows(sha256(b"other")))
    records.forget("result")

    assert (before, known, records.knows(INGREDIENTS.op)) == (False, (True, False), False)


def test_unknown_key_is_not_found(records: Records) -> None:
    assert records.find(ONE) is None


def test_records_last_in_their_database(records: Records, database: MemoryDatabase) -> None:
    record = make(records)
    records.save([ONE], record)

    assert make_records(database).find(ONE) == record


def test_records_are_kept_in_a_file(tmp_path: Path) -> None:
    found: list[Record | None] = []
    for _ in range(2):
        database = Database(tmp_path / "records.db")
        records = make_records(database, Clock())
        found.append(records.find(ONE))
        records.save([ONE], make(records))
        database.close()

    assert found == [None, make(records)]


def test_candidates_are_those_of_one_key_the_newest_first(records: Records, clock: Clock) -> None:
    for key in ONE, TWO:
        for name in "a", "b":
            clock.now += 1
            records.save([candidate_key(key, name)], make(records, f"{key} {name}"))
    records.save([ONE, CacheKey("one0"), CacheKey("one-more/a")], make(records))

    found = records.find_alike(ONE)

    assert [(key, record.result) for key, record in found.items()] == [
        ("one/b", "one b"),
        ("one/a", "one a"),
    ]


def test_of_many_candidates_the_newest_are_given(records: Records, clock: Clock) -> None:
    for number in range(20):
        clock.now += 1
        records.save([candidate_key(ONE, str(number))], make(records, str(number)))

    found = [record.result for record in records.find_alike(ONE).values()]

    assert found == [str(number) for number in range(19, 19 - len(found), -1)]
    assert 1 < len(found) < 20


def test_forgotten_result_is_no_candidate(records: Records) -> None:
    records.save([TWO, candidate_key(ONE, "S")], make(records))
    records.forget("result")

    assert records.find_alike(ONE) == {}


def test_newer_record_takes_the_place_of_the_older(records: Records) -> None:
    records.save([ONE], make(records, "old"))
    records.save([ONE], make(records, "new"))

    assert records.find(ONE) == make(records, "new")


def test_lost_result_is_forgotten_under_all_keys(records: Records) -> None:
    records.save([ONE, TWO], make(records))
    other = CacheKey("other")
    records.save([other], make(records, "kept"))
    records.forget("result")

    assert (records.find(ONE), records.find(TWO)) == (None, None)
    assert records.find(other) == make(records, "kept")


def test_use_is_noted(records: Records, clock: Clock) -> None:
    record = make(records)
    records.save([ONE, TWO], record)
    clock.now += 301
    records.touch({ONE: record})

    assert records.find(ONE) == replace(record, last_used=1301.0, uses=1)
    assert records.find(TWO) == record


def test_use_within_minutes_is_not_written(
    records: Records, clock: Clock, database: MemoryDatabase
) -> None:
    record = make(records)
    records.save([ONE], record)
    before = database.transactions
    clock.now += 299
    records.touch({ONE: record})

    assert (records.find(ONE), database.transactions) == (record, before)


def test_saving_is_all_or_nothing(records: Records) -> None:
    keys: list[CacheKey] = [ONE, object()]  # type: ignore[list-item]
    with pytest.raises(Exception, match="type 'object' is not supported"):
        records.save(keys, make(records))

    assert records.find(ONE) is None
