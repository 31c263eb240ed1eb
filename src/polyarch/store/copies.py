"""What large copies were made of: so that the next one, after an edit, has to make only what changed.

An entry says which snapshot the last whole copy of a step made, and what each file in it was made of, in 32
bytes. Like the file stat index it is one packed row, by directories: all of them are wanted at once, but the files only of
those in which something changed, which 32 bytes more tell.

Of copies between stages there is another kind of entry, by snapshot: where their large files are. It is
written before the record of the copy, and of no use without the snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from polyarch.record import frozen
from polyarch.store.database import Database

__all__ = ["PLACES_SCHEMA", "SCHEMA", "CopiedDirectory", "Copies", "Copy"]

SCHEMA = (
    "DROP TABLE IF EXISTS copies_1",
    (
        "CREATE TABLE IF NOT EXISTS copies_2 (step TEXT PRIMARY KEY, snapshot TEXT NOT NULL,"
        " names BLOB NOT NULL, stamps BLOB NOT NULL) WITHOUT ROWID"
    ),
)
PLACES_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS places_1 (snapshot TEXT PRIMARY KEY, places TEXT NOT NULL)"
        " WITHOUT ROWID"
    ),
)
_STAMP_SIZE = 32


class CopiedDirectory(NamedTuple):
    """What was copied into a directory: the names, and a stamp (32 bytes) for each.

    `total` tells what all files were made of together, in 32 bytes; it is empty if that isn't known. Files that have the
    same one needn't be compared.
    """

    total: bytes = b""
    packed_names: str = ""
    packed_stamps: bytes = b""

    @staticmethod
    def of(stamps: Mapping[str, bytes], total: bytes = b"") -> CopiedDirectory:
        """Pack the stamps of a directory."""
        return CopiedDirectory(
            total=total, packed_names="\0".join(stamps), packed_stamps=b"".join(stamps.values())
        )

    @property
    def size(self) -> int:
        """The number of files and directories."""
        return len(self.packed_stamps) // _STAMP_SIZE

    def stamps(self) -> dict[str, bytes]:
        """Return the stamps by name."""
        packed = self.packed_stamps
        stamps = [packed[at : at + _STAMP_SIZE] for at in range(0, len(packed), _STAMP_SIZE)]
        return dict(zip(self.packed_names.split("\0"), stamps, strict=True)) if stamps else {}


@frozen
class Copy:
    """A whole copy: its snapshot, and by path in the tree, with a slash at the end, what is in each directory."""

    snapshot: str
    directories: Mapping[str, CopiedDirectory]

    @property
    def size(self) -> int:
        """The number of files and directories, which are counted."""
        return sum(each.size for each in self.directories.values())


class Copies:
    """The last whole copy of each step that copies much, and the large files of copies between stages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, step: str) -> Copy | None:
        """Return what is known of a step's last whole copy; its snapshot may be gone."""
        self._database.ensure(SCHEMA)
        statement = "SELECT snapshot, names, stamps FROM copies_2 WHERE step = ?"
        rows = self._database.execute(statement, (step,))
        if not rows:
            return None
        snapshot, names, stamps = rows[0]
        if not isinstance(names, bytes) or not isinstance(stamps, bytes):
            return None
        directories = _unpack(names, stamps)
        return (
            None if directories is None else Copy(snapshot=str(snapshot), directories=directories)
        )

    def save(self, step: str, copy: Copy) -> None:
        """Replace what is known of a step, and forget the copies whose snapshots have no record."""
        self._database.ensure(SCHEMA)
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM copies_2 WHERE snapshot NOT IN (SELECT id FROM snapshots_1)"
            )
            self._database.execute(
                "INSERT OR REPLACE INTO copies_2 VALUES (?, ?, ?, ?)",
                (step, copy.snapshot, *_pack(copy.directories)),
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


def _pack(directories: Mapping[str, CopiedDirectory]) -> tuple[bytes, bytes]:
    """Write directories as their names, and their other bytes, one after the other.

    A NUL ends each name, and another one each directory.
    """
    names = [
        f"{path}\0{each.packed_names}" if each.size else path for path, each in directories.items()
    ]
    stamps = [part for each in directories.values() for part in _stamps_of(each)]
    return "\0\0".join(names).encode("utf-8", "surrogateescape"), b"".join(stamps)


def _stamps_of(directory: CopiedDirectory) -> tuple[bytes, bytes]:
    return directory.total or bytes(_STAMP_SIZE), directory.packed_stamps


def _unpack(names: bytes, stamps: bytes) -> dict[str, CopiedDirectory] | None:
    """Read what `_pack` wrote; None for anything else."""
    found: dict[str, CopiedDirectory] = {}
    at = 0
    for text in names.decode("utf-8", "surrogateescape").split("\0\0"):
        path, is_filled, inside = text.partition("\0")
        start = at + _STAMP_SIZE
        end = start + (inside.count("\0") + 1) * _STAMP_SIZE if is_filled else start
        total = stamps[at:start]
        found[path] = CopiedDirectory(
            total=b"" if total == bytes(_STAMP_SIZE) else total,
            packed_names=inside,
            packed_stamps=stamps[start:end],
        )
        at = end
    return found if at == len(stamps) else None
