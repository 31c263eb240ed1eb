"""Records of others, that a cache brought along: found where the database has none, and written when they are."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import Digest, sha256
from polyarch.snapshot.stack import take_apart
from polyarch.solver.key import CacheKey, Ingredients, candidate_key
from polyarch.solver.records import Record, Records
from polyarch.store.results import Results
from tests.support.fakes.solving import MemoryDatabase

KEY, ALIKE = CacheKey("sha256:key"), CacheKey("sha256:alike")
OP = sha256(b"op")


def record(result: str, op: Digest = OP) -> Record:
    explain = Ingredients(op=op, inputs=()).to_json()
    return Record(
        identity=result, result=result, step="RUN", explain=explain, created=1.0, last_used=1.0
    )


def made(database: MemoryDatabase, imported: Mapping[CacheKey, Record] | None = None) -> Records:
    return Records(database, Results(database, take_apart), imported=imported or {})


def test_one_that_is_found_is_written() -> None:
    database = MemoryDatabase()

    assert made(database, imported={KEY: record("theirs")}).find(KEY) == record("theirs")
    assert made(database).find(KEY) == record("theirs")


def test_the_database_counts_first() -> None:
    database = MemoryDatabase()
    made(database).save([KEY], record("ours"))

    assert made(database, imported={KEY: record("theirs")}).find(KEY) == record("ours")


def test_candidates_come_from_both() -> None:
    database = MemoryDatabase()
    ours, theirs = candidate_key(ALIKE, "ours"), candidate_key(ALIKE, "theirs")
    made(database).save([ours], record("ours"))
    imported = {ours: record("other"), theirs: record("theirs"), KEY: record("no candidate")}

    found = made(database, imported=imported).find_alike(ALIKE)

    assert found == {ours: record("ours"), theirs: record("theirs")}


def test_steps_are_known_by_what_others_made() -> None:
    records = made(MemoryDatabase(), imported={KEY: record("theirs")})

    assert records.knows(OP)
    assert not records.knows(sha256(b"another op"))


def test_what_is_gone_is_forgotten() -> None:
    more = CacheKey("sha256:more")
    records = made(MemoryDatabase(), imported={KEY: record("gone"), more: record("still there")})
    assert records.find(KEY)

    records.forget("gone")

    assert records.find(KEY) is None
    assert records.find(more) == record("still there")
