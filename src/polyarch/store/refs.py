"""Names that keep blobs alive: the images of the local store, and what was resolved lately."""

from __future__ import annotations

import time
from enum import StrEnum

from polyarch.errors import NotFound
from polyarch.record import frozen
from polyarch.store.database import Database, Row

__all__ = ["SCHEMA", "Ref", "RefKind", "Refs"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS refs_1 (kind TEXT, name TEXT, descriptor TEXT NOT NULL,"
        " created REAL NOT NULL, updated REAL NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID"
    ),
)
_SELECT = "SELECT kind, name, descriptor, created, updated FROM refs_1"


class RefKind(StrEnum):
    """What a name is for."""

    IMAGE = "image"
    """An image of the local store: keeps all its blobs."""
    SOURCE = "source"
    """What a remote name stood for lately: keeps its manifests and configs for a while."""


@frozen
class Ref:
    """A name and what it stands for."""

    kind: RefKind
    name: str
    descriptor: str
    """The OCI descriptor of the root (an index or a manifest), as JSON."""
    created: float
    """Seconds since the epoch at which the name was first set."""
    updated: float
    """Seconds since the epoch at which the name was last set."""


class Refs:
    """The names of a store. Every change is atomic and made for all processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, name: str, kind: RefKind = RefKind.IMAGE) -> Ref | None:
        """Return what `name` stands for, or None."""
        rows = self._rows(_SELECT + " WHERE kind = ? AND name = ?", kind, name)
        return _ref(rows[0]) if rows else None

    def get(self, name: str, kind: RefKind = RefKind.IMAGE) -> Ref:
        """Return what `name` stands for. Raises NotFound."""
        ref = self.find(name, kind)
        if ref is None:
            raise NotFound(
                f"no image named {name!r} in the store", hint="'polyarch images' lists the names"
            )
        return ref

    def all(self, kind: RefKind = RefKind.IMAGE) -> tuple[Ref, ...]:
        """Return all names of a kind, sorted."""
        return tuple(
            _ref(row) for row in self._rows(_SELECT + " WHERE kind = ? ORDER BY name", kind)
        )

    def set(self, name: str, descriptor: str, kind: RefKind = RefKind.IMAGE) -> None:
        """Let `name` stand for the OCI descriptor, given as JSON. Its blobs should be here already."""
        self._database.ensure(SCHEMA)
        now = time.time()
        self._database.execute(
            "INSERT INTO refs_1 VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, name)"
            " DO UPDATE SET descriptor = excluded.descriptor, updated = excluded.updated",
            (kind, name, descriptor, now, now),
        )

    def settle(self, now: float) -> None:
        """Take names that were set in the future, by a clock that was wrong, for set now."""
        self._database.ensure(SCHEMA)
        self._database.execute("UPDATE refs_1 SET updated = ? WHERE updated > ?", (now, now))

    def delete(self, name: str, kind: RefKind = RefKind.IMAGE) -> bool:
        """Remove the name; returns whether it was there. Its blobs are left to `store.gc`."""
        self._database.ensure(SCHEMA)
        statement = "DELETE FROM refs_1 WHERE kind = ? AND name = ? RETURNING name"
        return bool(self._database.execute(statement, (kind, name)))

    def _rows(self, statement: str, *values: str) -> list[Row]:
        self._database.ensure(SCHEMA)
        return self._database.execute(statement, values)


def _ref(row: Row) -> Ref:
    kind, name, descriptor, created, updated = row
    return Ref(
        kind=RefKind(str(kind)),
        name=str(name),
        descriptor=str(descriptor),
        created=float(created or 0),
        updated=float(updated or 0),
    )
