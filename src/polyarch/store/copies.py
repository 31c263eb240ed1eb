"""What large copies were made of: so that the next one, after an edit, has to make only what changed.

An entry says which snapshot the last whole copy of a step made, and what each file in it was made of, in 32
bytes. Like the file stat index it is one packed row: all of it is wanted at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.record import frozen
from polyarch.store.database import Database

__all__ = ["SCHEMA", "Copies", "Copy"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS copies_1 (step TEXT PRIMARY KEY, snapshot TEXT NOT NULL,"
        " paths BLOB NOT NULL, stamps BLOB NOT NULL) WITHOUT ROWID"
    ),
)
_STAMP_SIZE = 32


@frozen
class Copy:
    """A whole copy: its snapshot, and by path in the tree a stamp (32 bytes) for each file and folder."""

    snapshot: str
    stamps: Mapping[str, bytes]


class Copies:
    """The last whole copy of each step that copies much."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, step: str) -> Copy | None:
        """Return what is known of a step's last whole copy; its snapshot may be gone."""
        self._database.ensure(SCHEMA)
        statement = "SELECT snapshot, paths, stamps FROM copies_1 WHERE step = ?"
        rows = self._database.execute(statement, (step,))
        if not rows:
            return None
        snapshot, paths, packed = rows[0]
        if not isinstance(paths, bytes) or not isinstance(packed, bytes):
            return None
        names = paths.decode("utf-8", "surrogateescape").split("\0")
        stamps = [packed[at : at + _STAMP_SIZE] for at in range(0, len(packed), _STAMP_SIZE)]
        if len(names) != len(stamps):
            return None
        return Copy(snapshot=str(snapshot), stamps=dict(zip(names, stamps, strict=True)))

    def save(self, step: str, copy: Copy) -> None:
        """Replace what is known of a step, and forget the copies whose snapshots have no record."""
        self._database.ensure(SCHEMA)
        names = "\0".join(copy.stamps).encode("utf-8", "surrogateescape")
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM copies_1 WHERE snapshot NOT IN (SELECT id FROM snapshots_1)"
            )
            self._database.execute(
                "INSERT OR REPLACE INTO copies_1 VALUES (?, ?, ?, ?)",
                (step, copy.snapshot, names, b"".join(copy.stamps.values())),
            )
