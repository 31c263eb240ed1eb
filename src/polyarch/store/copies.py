"""What large copies were made of: so that the next one, after an edit, has to make only what changed.

An entry says which snapshot the last whole copy of a step made, and what each file in it was made of, in 32
bytes. Like the file stat index it is one packed row: all of it is wanted at once.

Of copies between stages there is another kind of entry, by snapshot: where their large files are. It is
written before the record of the copy, and of no use without the snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from polyarch.record import frozen
from polyarch.store.database import Database

__all__ = ["PLACES_SCHEMA", "SCHEMA", "Copies", "Copy"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS copies_1 (step TEXT PRIMARY KEY, snapshot TEXT NOT NULL,"
        " paths BLOB NOT NULL, stamps BLOB NOT NULL) WITHOUT ROWID"
    ),
)
PLACES_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS places_1 (snapshot TEXT PRIMARY KEY, places TEXT NOT NULL)"
        " WITHOUT ROWID"
    ),
)
_STAMP_SIZE = 32


@frozen
class Copy:
    """A whole copy: its snapshot, and by path in the tree a stamp (32 bytes) for each file and directory."""

    snapshot: str
    stamps: Mapping[str, bytes]


class Copies:
    """The last whole copy of each step that copies much, and the large files of copies between stages."""

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

    def find_places(self, snapshot: str) -> dict[int, tuple[str, ...]]:
        """Return where in a snapshot the large files are that came from other stages, as they were saved."""
        self._database.ensure(PLACES_SCHEMA)
        statement = "SELECT places FROM places_1 WHERE snapshot = ?"
        rows = self._database.execute(statement, (snapshot,))
        with suppress(ValueError, AttributeError, TypeError):
            if rows:
                found = json.loads(str(rows[0][0]))
                return {int(number): tuple(map(str, paths)) for number, paths in found.items()}
        return {}

    def save_places(self, snapshot: str, places: Mapping[int, Sequence[str]]) -> None:
        """Note the paths of a snapshot's large files, by the number of the input that they came from.

        Those of snapshots that have no record are forgotten.
        """
        self._database.ensure(PLACES_SCHEMA)
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM places_1 WHERE snapshot NOT IN (SELECT id FROM snapshots_1)"
            )
            self._database.execute(
                "INSERT OR REPLACE INTO places_1 VALUES (?, ?)", (snapshot, json.dumps(places))
            )
