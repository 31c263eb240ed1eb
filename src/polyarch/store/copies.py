"""Which snapshot a copy of a build context made the last time: where unchanged files can be taken from.

Losing a row loses nothing but time. A row goes when its copy hasn't been made for a month.
"""

from __future__ import annotations

import time

from polyarch.store.database import Database

__all__ = ["SCHEMA", "Copies"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS copies_1 (copy TEXT PRIMARY KEY, snapshot TEXT NOT NULL,"
        " saved REAL NOT NULL) WITHOUT ROWID"
    ),
)
_KEPT = 30 * 86400.0


class Copies:
    """The last snapshot of each copy, by a text that names the copy."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, copy: str) -> str | None:
        """Return the snapshot that `copy` made last; it may be gone."""
        self._database.ensure(SCHEMA)
        rows = self._database.execute("SELECT snapshot FROM copies_1 WHERE copy = ?", (copy,))
        return str(rows[0][0]) if rows else None

    def save(self, copy: str, snapshot: str) -> None:
        """Remember what `copy` has made just now."""
        self._database.ensure(SCHEMA)
        now = time.time()
        self._database.execute(
            "INSERT OR REPLACE INTO copies_1 VALUES (?, ?, ?)", (copy, snapshot, now)
        )
        self._database.execute("DELETE FROM copies_1 WHERE saved < ?", (now - _KEPT,))
