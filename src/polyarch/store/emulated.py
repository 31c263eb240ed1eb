"""What is known of emulated steps that ran: how long they took, and which of them take no native programs.

A step is known by the cache digest of its op and the base image that it stands on, by name: so it is met again
in an edited Dockerfile, and on next week's base image. What nobody has met for two months is forgotten.
"""

from __future__ import annotations

import time

from polyarch.record import frozen
from polyarch.store.database import Database

__all__ = ["SCHEMA", "EmulatedRun", "EmulatedRuns", "EmulatedStepKey"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS emulated_1 (step TEXT, base TEXT, platform TEXT NOT NULL,"
        " seconds REAL, strict TEXT NOT NULL, updated REAL NOT NULL, PRIMARY KEY (step, base))"
        " WITHOUT ROWID"
    ),
    (
        "CREATE TABLE IF NOT EXISTS unlike_1 (snapshot TEXT, twins TEXT, path TEXT NOT NULL,"
        " PRIMARY KEY (snapshot, twins)) WITHOUT ROWID"
    ),
)
_KEPT_SECONDS = 60 * 24 * 3600.0


@frozen
class EmulatedStepKey:
    """By what a step is met again; `platform` is shown as people write it."""

    step: str
    base: str
    platform: str


@frozen
class EmulatedRun:
    """How a step ran.

    `seconds` is what it took with nothing native in it, None if it never ran so; `strict` says why it takes
    no native programs, "" if it does.
    """

    seconds: float | None = None
    strict: str = ""


class EmulatedRuns:
    """The emulated steps of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: EmulatedStepKey) -> EmulatedRun:
        """Return what is known of a step."""
        self._database.ensure(SCHEMA)
        statement = "SELECT seconds, strict FROM emulated_1 WHERE step = ? AND base = ?"
        rows = self._database.execute(statement, (key.step, key.base))
        if not rows:
            return EmulatedRun()
        seconds, strict = rows[0]
        return EmulatedRun(seconds=None if seconds is None else float(seconds), strict=str(strict))

    def total(self, key: EmulatedStepKey) -> float | None:
        """Return the seconds that all steps on the key's base and platform took; None if none ran."""
        self._database.ensure(SCHEMA)
        rows = self._database.execute(
            "SELECT sum(seconds) FROM emulated_1 WHERE base = ? AND platform = ? AND updated > ?",
            (key.base, key.platform, time.time() - _KEPT_SECONDS),
        )
        found = rows[0][0]
        return None if found is None else float(found)

    def save(self, key: EmulatedStepKey, run: EmulatedRun) -> None:
        """Replace what is known of a step, and forget the steps of long ago."""
        self._database.ensure(SCHEMA)
        now = time.time()
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM emulated_1 WHERE updated < ?", (now - _KEPT_SECONDS,)
            )
            self._database.execute(
                "INSERT OR REPLACE INTO emulated_1 VALUES (?, ?, ?, ?, ?, ?)",
                (key.step, key.base, key.platform, run.seconds, run.strict, now),
            )

    def find_unlike(self, snapshot: str, twins: str) -> str | None:
        """Return the path of a program in a layer that only looks like one with a twin: "" for none.

        None if nobody has looked yet. `twins` names the set.
        """
        self._database.ensure(SCHEMA)
        statement = "SELECT path FROM unlike_1 WHERE snapshot = ? AND twins = ?"
        rows = self._database.execute(statement, (snapshot, twins))
        return str(rows[0][0]) if rows else None

    def save_unlike(self, snapshot: str, twins: str, path: str) -> None:
        """Note what `find_unlike` returns; what was noted of snapshots that are gone is forgotten."""
        self._database.ensure(SCHEMA)
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM unlike_1 WHERE snapshot NOT IN (SELECT id FROM snapshots_1)"
            )
            self._database.execute(
                "INSERT OR REPLACE INTO unlike_1 VALUES (?, ?, ?)", (snapshot, twins, path)
            )
