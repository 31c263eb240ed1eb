"""Cache records: key -> what the step gave, on disk.

A record is written only after what it points at is durable, so a record may be believed until its
result turns out to be gone; then it is forgotten. Of two records of one key the newer one stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from polyarch.solver.key import CacheKey, Ingredients

__all__ = ["Record", "RecordDatabase", "Records"]

# Use is noted to rank records for removal, for which minutes don't matter: an unchanged rebuild, again
# and again, writes nothing.
_USE_RESOLUTION = 300.0

SCHEMA = """
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
"""


class RecordDatabase(Protocol):
    """What is needed of an SQLite database. May be used from several threads at once."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run one statement and return its rows. Raises StoreError."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return a context in which this thread's statements happen all or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One result that can be used again.

    `identity` names the result, `result` is the runner's text to load it by; `step` is what people
    call the step; `ingredients` is what the keys were made of. Times are seconds since the epoch.
    """

    identity: str
    result: str
    step: str
    ingredients: Ingredients
    created: float
    last_used: float
    uses: int = 0


class Records:
    """The records in one database. `clock` gives seconds since the epoch."""

    def __init__(self, database: RecordDatabase, *, clock: Callable[[], float] = time.time) -> None:
        raise NotImplementedError

    def find(self, key: CacheKey) -> Record | None:
        """Return the record of `key`."""
        raise NotImplementedError

    def save(self, keys: Iterable[CacheKey], record: Record) -> None:
        """Write `record` under each of `keys`, in place of older ones, all or none."""
        raise NotImplementedError

    def forget(self, result: str) -> None:
        """Remove every record of a result that turned out to be gone."""
        raise NotImplementedError

    def touch(self, keys: Iterable[CacheKey]) -> None:
        """Note that these records were used, in one transaction (none if they were a moment ago)."""
        raise NotImplementedError
