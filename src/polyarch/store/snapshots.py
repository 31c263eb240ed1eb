"""What is known of the snapshots: what `polyarch du` shows and the garbage collector goes by."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum

from polyarch.digest import DiffID
from polyarch.record import frozen
from polyarch.store.database import Database, Row

__all__ = ["SCHEMA", "RecordType", "SnapshotRecord", "SnapshotRecords"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS snapshots_1 (id TEXT PRIMARY KEY, parents TEXT NOT NULL,"
        " diff_id TEXT, size INTEGER NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL,"
        " uses INTEGER NOT NULL, description TEXT NOT NULL, type TEXT NOT NULL) WITHOUT ROWID"
    ),
)

_SELECT = "SELECT id, parents, diff_id, size, created, last_used, uses, description, type FROM snapshots_1"
_USE_RESOLUTION = 300.0


class RecordType(StrEnum):
    """The kinds of records that usage and policies tell apart; spelled as BuildKit does."""

    REGULAR = "regular"
    INTERNAL = "internal"
    FRONTEND = "frontend"
    SOURCE_LOCAL = "source.local"
    SOURCE_GIT = "source.git.checkout"
    CACHE_MOUNT = "exec.cachemount"


@frozen
class SnapshotRecord:
    """A snapshot, as it is accounted for."""

    id: str
    parents: tuple[str, ...] = ()
    """Snapshots without which this one is of no use; they are removed later than this."""
    diff_id: DiffID | None = None
    """Known once the layer was written as a tar, or read from one."""
    size: int = 0
    """Bytes on disk; 0 until somebody asks, as `store.usage` does."""
    created: float = 0.0
    """Seconds since the epoch; 0 means now, when it is added."""
    last_used: float = 0.0
    uses: int = 1
    description: str = ""
    type: RecordType = RecordType.REGULAR

    def to_json(self) -> str:
        """Write what is known of the snapshot as soon as it is made."""
        fields = {
            "parents": self.parents,
            "diff_id": self.diff_id,
            "description": self.description,
            "type": self.type,
        }
        return json.dumps(fields)

    @staticmethod
    def from_json(snapshot: str, text: str) -> SnapshotRecord:
        """Read what `to_json` wrote; anything else raises ValueError, KeyError or TypeError."""
        fields = json.loads(text)
        diff_id = fields["diff_id"]
        return SnapshotRecord(
            id=snapshot,
            parents=tuple(map(str, fields["parents"])),
            diff_id=None if diff_id is None else DiffID(str(diff_id)),
            description=str(fields["description"]),
            type=RecordType(fields["type"]),
        )


class SnapshotRecords:
    """The records of a store's snapshots. Add the record after the snapshot, remove it before."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: SnapshotRecord) -> None:
        """Add a record; one that is there already keeps its times and uses."""
        self._database.ensure(SCHEMA)
        now = time.time()
        self._database.execute(
            "INSERT INTO snapshots_1 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET parents = excluded.parents, size = max(size, excluded.size),"
            " diff_id = coalesce(excluded.diff_id, diff_id)",
            (
                record.id,
                json.dumps(record.parents),
                record.diff_id,
                record.size,
                record.created or now,
                record.last_used or now,
                record.uses,
                record.description,
                record.type,
            ),
        )

    def find(self, snapshot: str) -> SnapshotRecord | None:
        """Return the record, or None."""
        rows = self._rows(_SELECT + " WHERE id = ?", snapshot)
        return rows[0] if rows else None

    def all(self) -> tuple[SnapshotRecord, ...]:
        """Return every record, by id."""
        return self._rows(_SELECT + " ORDER BY id")

    def total(self) -> tuple[int, int]:
        """Return the bytes of all snapshots that were measured, and how many weren't."""
        self._database.ensure(SCHEMA)
        [(size, unmeasured)] = self._database.execute(
            "SELECT coalesce(sum(size), 0), coalesce(sum(size = 0), 0) FROM snapshots_1"
        )
        return int(size or 0), int(unmeasured or 0)

    def set_diff_id(self, snapshot: str, diff_id: DiffID) -> None:
        """Remember what the layer's tar was found to be; the snapshot may be unknown."""
        self._database.ensure(SCHEMA)
        self._database.execute(
            "UPDATE snapshots_1 SET diff_id = ? WHERE id = ?", (diff_id, snapshot)
        )

    def set_sizes(self, sizes: Mapping[str, int]) -> None:
        """Remember how large snapshots were found to be, in bytes, by id."""
        if sizes:
            rows = [(size, snapshot) for snapshot, size in sizes.items()]
            self._database.ensure(SCHEMA)
            self._database.executemany("UPDATE snapshots_1 SET size = ? WHERE id = ?", rows)

    def touch(self, snapshots: Iterable[str]) -> None:
        """Count a use, now, of each; call it once per build with all of them.

        Those that were used within the last minutes are left alone: a use is noted to rank records
        for removal, and nothing to note is nothing to write.
        """
        now = time.time()
        wanted = set(snapshots)
        stale = [
            (now, record.id)
            for record in self._rows(
                _SELECT + " WHERE last_used NOT BETWEEN ? AND ?",
                now - _USE_RESOLUTION,
                now + _USE_RESOLUTION,
            )
            if record.id in wanted
        ]
        if stale:
            statement = "UPDATE snapshots_1 SET last_used = ?, uses = uses + 1 WHERE id = ?"
            self._database.executemany(statement, stale)

    def settle(self, now: float) -> None:
        """Take what was used in the future, by a clock that was wrong, for used now: or it stays until then."""
        self._database.ensure(SCHEMA)
        self._database.execute(
            "UPDATE snapshots_1 SET last_used = ? WHERE last_used > ?",
            (now, now + _USE_RESOLUTION),
        )

    def remove(self, snapshot: str) -> None:
        """Remove the record, if it is there."""
        self._database.ensure(SCHEMA)
        self._database.execute("DELETE FROM snapshots_1 WHERE id = ?", (snapshot,))

    def _rows(self, statement: str, *values: str | float) -> tuple[SnapshotRecord, ...]:
        self._database.ensure(SCHEMA)
        return tuple(_record(row) for row in self._database.execute(statement, values))


def _record(row: Row) -> SnapshotRecord:
    snapshot, parents, diff_id, size, created, last_used, uses, description, kind = row
    return SnapshotRecord(
        id=str(snapshot),
        parents=tuple(json.loads(str(parents))),
        diff_id=None if diff_id is None else DiffID(str(diff_id)),
        size=int(size or 0),
        created=float(created or 0),
        last_used=float(last_used or 0),
        uses=int(uses or 0),
        description=str(description),
        type=RecordType(str(kind)),
    )
