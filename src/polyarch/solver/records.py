"""Cache records: key -> what the step gave, on disk.

A record is written only after what it points at is durable, so a record may be believed until its
result turns out to be gone; then it is forgotten. Of two records of one key the newer one stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from polyarch.digest import Digest
from polyarch.record import frozen
from polyarch.solver.key import CacheKey, Ingredients
from polyarch.store.results import ResultDatabase, Results, take_over

__all__ = ["Record", "Records"]

# Use is noted to rank records for removal, for which minutes don't matter: an unchanged rebuild, again
# and again, writes nothing.
_USE_RESOLUTION = 300.0
# What looks alike mostly differs soon, but need not: comparing must not take longer than the step.
_MOST_ALIKE = 8

_SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY,
    identity TEXT NOT NULL,
    result TEXT NOT NULL,
    step TEXT NOT NULL,
    explain TEXT NOT NULL,
    created REAL NOT NULL,
    last_used REAL NOT NULL,
    uses INTEGER NOT NULL
) WITHOUT ROWID
""",
)
# `stack` is the result's identity among the results. That of the record is another one where it came from another
# machine. Versions that are older leave it out: what they write is forgotten when it is found to be gone.
_BY_STACK = "records_stack"
_MORE = (
    "ALTER TABLE records ADD COLUMN stack TEXT NOT NULL DEFAULT ''",
    f"CREATE INDEX {_BY_STACK} ON records (stack)",
)
_SELECT = """
SELECT identity, result, step, explain, created, last_used, uses FROM records WHERE key = ?
"""
# "0" comes right behind "/".
_SELECT_ALIKE = """
SELECT identity, result, step, explain, created, last_used, uses, key FROM records
WHERE key > ? || '/' AND key < ? || '0' ORDER BY created DESC, key LIMIT ?
"""
_INSERT = """
INSERT OR REPLACE INTO records
(key, identity, result, step, explain, created, last_used, uses, stack) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@frozen
class Record:
    """One result that can be used again.

    `identity` names the result, `result` is the runner's text to load it by; `step` is what people
    call the step; `explain` is the JSON of the keys' ingredients. Times are seconds since the epoch;
    `uses` counts builds that used it, those within the same few minutes once.
    """

    identity: str
    result: str
    step: str
    explain: str
    created: float
    last_used: float
    uses: int = 0

    def ingredients(self) -> Ingredients:
        """Return what the keys were made of."""
        return Ingredients.from_json(self.explain)


class Records:
    """The records in one database, which `results` is in, too. `clock` gives seconds since the epoch.

    `imported` are records of others, which are looked up where the database has none. One that is found is
    written, too: what it points at is as durable as any image's layer.
    """

    def __init__(
        self,
        database: ResultDatabase,
        results: Results,
        *,
        clock: Callable[[], float] = time.time,
        imported: Mapping[CacheKey, Record] = MappingProxyType({}),
    ) -> None:
        self._database = database
        self._results = results
        self._clock = clock
        # What turns out to be gone is forgotten, here and there.
        self._imported = dict(imported)
        self._imported_ops = {_beginning(each.explain) for each in imported.values()}
        database.ensure(_SCHEMA)
        take_over(database, _BY_STACK, _MORE, self._add_results)

    def make(self, *, identity: str, result: str, step: str, ingredients: Ingredients) -> Record:
        """Return a record of a result that was computed just now; `save` writes it."""
        now = self._clock()
        return Record(
            identity=identity,
            result=result,
            step=step,
            explain=ingredients.to_json(),
            created=now,
            last_used=now,
        )

    def find(self, key: CacheKey) -> Record | None:
        """Return the record of `key`."""
        rows = self._database.execute(_SELECT, (key,))
        if rows:
            return _record(rows[0])
        record = self._imported.get(key)
        if record is not None:
            self.save((key,), record)
        return record

    def find_alike(self, alike: CacheKey) -> Mapping[CacheKey, Record]:
        """Return the records of `candidate_key(alike, ...)` by their keys, the newest first, not too many."""
        rows = self._database.execute(_SELECT_ALIKE, (alike, alike, _MOST_ALIKE))
        found = {CacheKey(str(row[-1])): _record(row[:-1]) for row in rows}
        more = {key: each for key, each in self._imported.items() if key.startswith(f"{alike}/")}
        return {**found, **{key: each for key, each in more.items() if key not in found}}

    def save(self, keys: Iterable[CacheKey], record: Record) -> None:
        """Write `record` under each of `keys`, in place of older ones, all or none."""
        with self._database.transaction():
            stack = self._results.add(record.result)
            for key in keys:
                self._database.execute(
                    _INSERT,
                    (
                        key,
                        record.identity,
                        record.result,
                        record.step,
                        record.explain,
                        record.created,
                        record.last_used,
                        record.uses,
                        stack,
                    ),
                )

    def knows(self, op: Digest) -> bool:
        """Return whether a step with this op has ever given a result that is still recorded."""
        beginning = _beginning(Ingredients(op=op, inputs=()).to_json())
        query = "SELECT 1 FROM records WHERE substr(explain, 1, ?) = ? LIMIT 1"
        is_imported = beginning in self._imported_ops
        return is_imported or bool(self._database.execute(query, (len(beginning), beginning)))

    def results(self) -> tuple[str, ...]:
        """Return the texts of all results that there are records of."""
        rows = self._database.execute("SELECT DISTINCT result FROM records ORDER BY result")
        return tuple(str(row[0]) for row in rows)

    def forget(self, result: str) -> None:
        """Remove every record of a result that turned out to be gone."""
        imported = self._imported
        if any(each.result == result for each in imported.values()):
            # A new one, as other threads may be looking something up.
            self._imported = {key: each for key, each in imported.items() if each.result != result}
        self._database.execute("DELETE FROM records WHERE result = ?", (result,))

    def forget_all(self, identities: Iterable[str]) -> None:
        """Remove every record of the results that have these identities among all results."""
        for identity in identities:
            self._database.execute("DELETE FROM records WHERE stack = ?", (identity,))

    def touch(self, used: Mapping[CacheKey, Record]) -> None:
        """Note that records, as they were found, were used: in one transaction.

        Nothing is written if all of them were used within the last minutes.
        """
        now = self._clock()
        stale = [key for key, record in used.items() if record.last_used < now - _USE_RESOLUTION]
        if not stale:
            return
        with self._database.transaction():
            for key in stale:
                self._database.execute(
                    "UPDATE records SET last_used = ?, uses = uses + 1 WHERE key = ?", (now, key)
                )

    def _add_results(self) -> None:
        for key, result in self._database.execute("SELECT key, result FROM records"):
            stack = self._results.add(str(result))
            self._database.execute("UPDATE records SET stack = ? WHERE key = ?", (stack, str(key)))


def _beginning(explain: str) -> str:
    """Return the part of what explains a record that says which op it is of."""
    return explain.partition(",")[0]


def _record(row: Sequence[object]) -> Record:
    identity, result, step, explain, created, last_used, uses = row
    return Record(
        identity=str(identity),
        result=str(result),
        step=str(step),
        explain=str(explain),
        created=float(str(created)),
        last_used=float(str(last_used)),
        uses=int(str(uses)),
    )
