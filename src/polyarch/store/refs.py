"""Names of blobs: the images of the local store, and what was resolved lately.

A name of an image is *kept* if this store is where the image is: it was built without being pushed, loaded, pulled or
tagged. It is *pushed* if a registry has the image, too: then it is an entry of the cache, with an age, and keeps no
layer from the collector.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
_INSERT = (
    "INSERT INTO refs_1 VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, name)"
    " DO UPDATE SET descriptor = excluded.descriptor, updated = excluded.updated"
)


class RefKind(StrEnum):
    """What a name is for."""

    IMAGE = "image"
    """An image of the local store: keeps all its blobs."""
    PUSHED = "pushed"
    """An image that a registry has as well: the collector forgets it when it is old, or room is wanted."""
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


_IMAGES = (RefKind.IMAGE, RefKind.PUSHED)


class Refs:
    """The names of a store. Every change is atomic and made for all processes.

    An image's name is either kept or pushed. Kinds that aren't told are those of images.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, name: str, *kinds: RefKind) -> Ref | None:
        """Return what `name` stands for, or None."""
        found = self._rows("name = ?", name, kinds=kinds)
        return found[0] if found else None

    def get(self, name: str, *kinds: RefKind) -> Ref:
        """Return what `name` stands for. Raises NotFound."""
        ref = self.find(name, *kinds)
        if ref is None:
            raise NotFound(
                f"no image named {name!r} in the store", hint="'polyarch images' lists the names"
            )
        return ref

    def all(self, *kinds: RefKind) -> tuple[Ref, ...]:
        """Return all names of some kinds, sorted."""
        return self._rows("true ORDER BY name", kinds=kinds)

    def set(self, name: str, descriptor: str, kind: RefKind = RefKind.IMAGE) -> None:
        """Let `name` stand for the OCI descriptor, given as JSON. Its blobs should be here already.

        A kept name stays so if the very image that it stands for is pushed.
        """
        self._database.ensure(SCHEMA)
        now = time.time()
        if kind not in _IMAGES:
            self._database.execute(_INSERT, (kind, name, descriptor, now, now))
            return
        with self._database.transaction():
            known = self.find(name)
            if known is not None and known.kind != kind:
                if kind is RefKind.PUSHED and known.descriptor == descriptor:
                    kind = known.kind
                else:
                    self.delete(name)
            self._database.execute(_INSERT, (kind, name, descriptor, now, now))

    def settle(self, now: float) -> None:
        """Take names that were set in the future, by a clock that was wrong, for set now."""
        self._database.ensure(SCHEMA)
        self._database.execute("UPDATE refs_1 SET updated = ? WHERE updated > ?", (now, now))

    def delete(self, name: str, *kinds: RefKind) -> bool:
        """Remove the name; returns whether it was there. Its blobs are left to `store.gc`."""
        self._database.ensure(SCHEMA)
        gone = [
            self._database.execute(
                "DELETE FROM refs_1 WHERE kind = ? AND name = ? RETURNING name", (kind, name)
            )
            for kind in kinds or _IMAGES
        ]
        return any(gone)

    def forget(self, ref: Ref) -> bool:
        """Remove a name unless it was set again since `ref` was read; returns whether it was removed."""
        self._database.ensure(SCHEMA)
        statement = "DELETE FROM refs_1 WHERE kind = ? AND name = ? AND updated = ? RETURNING name"
        return bool(self._database.execute(statement, (ref.kind, ref.name, ref.updated)))

    def _rows(self, condition: str, *values: str, kinds: Sequence[RefKind]) -> tuple[Ref, ...]:
        self._database.ensure(SCHEMA)
        wanted = kinds or _IMAGES
        marks = ", ".join("?" * len(wanted))
        statement = f"{_SELECT} WHERE kind IN ({marks}) AND {condition}"
        return tuple(map(_ref, self._database.execute(statement, (*wanted, *values))))


def _ref(row: Row) -> Ref:
    kind, name, descriptor, created, updated = row
    return Ref(
        kind=RefKind(str(kind)),
        name=str(name),
        descriptor=str(descriptor),
        created=float(created or 0),
        updated=float(updated or 0),
    )
