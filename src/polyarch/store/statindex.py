"""Which bytes a file had when it was last hashed, known by its `stat`.

An unchanged build context is not read again: a file whose size, times, inode and mode are those of the
index has the digest of the index. The entries of one tree are a single row, packed, because they are
always wanted together: a row per file would take longer to load than some contexts take to hash. Saving a
tree drops those that are old, and the oldest where there are too many: builds in ever new folders would
make the table grow for ever.

A file that was changed in the same tick of the kernel's clock in which it was hashed may look the same
afterwards; so entries whose change time is too near to the scan are not kept ("racily clean").
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping

from polyarch.store.database import Database

__all__ = ["SCHEMA", "FileStamp", "StatIndex"]

FileStamp = tuple[int, int, int, int, int, bytes]
"""(size, mtime_ns, ctime_ns, inode, mode, the 32 bytes of the sha256)."""

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS stat_index_1 (tree TEXT PRIMARY KEY, saved REAL NOT NULL,"
        " paths BLOB NOT NULL, stamps BLOB NOT NULL) WITHOUT ROWID"
    ),
)
_STAMP = struct.Struct("<qqqQI32s")
_TIMES = 1 << 63
_TICK_NS = 20_000_000
_COARSE_NS = 2_100_000_000  # whole seconds: FAT counts by two
_LONGEST = 60 * 86400.0
_MOST = 256 << 20
"""Bytes of all trees: about two million files."""


def _fits(stamp: FileStamp) -> bool:
    """Tell whether the times have 64 bits; a file of 1600 or of 2300 is hashed each time."""
    return -_TIMES <= stamp[1] < _TIMES and stamp[2] >= -_TIMES


class StatIndex:
    """The file stat index of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, tree: str) -> dict[str, FileStamp]:
        """Return the entries of a tree by path, as they were saved; none if it is unknown.

        50,000 files take about 50 ms.
        """
        self._database.ensure(SCHEMA)
        statement = "SELECT paths, stamps FROM stat_index_1 WHERE tree = ?"
        rows = self._database.execute(statement, (tree,))
        if not rows:
            return {}
        paths, stamps = rows[0]
        if not isinstance(paths, bytes) or not isinstance(stamps, bytes) or not paths:
            return {}
        names = paths.decode("utf-8", "surrogateescape").split("\0")
        return dict(zip(names, _STAMP.iter_unpack(stamps), strict=False))

    def save(self, tree: str, stamps: Mapping[str, FileStamp], *, scanned_ns: int) -> None:
        """Replace the entries of a tree.

        `scanned_ns` is the time (`time.time_ns`) at which the scan began; files changed shortly
        before that, or later, are left out.
        """
        self._database.ensure(SCHEMA)
        sure, coarse = scanned_ns - _TICK_NS, scanned_ns - _COARSE_NS
        kept = {
            path: stamp
            for path, stamp in stamps.items()
            if stamp[2] < (sure if stamp[2] % 1_000_000_000 else coarse) and _fits(stamp)
        }
        now = time.time()
        names = "\0".join(kept).encode("utf-8", "surrogateescape")
        packed = b"".join([_STAMP.pack(*stamp) for stamp in kept.values()])
        self._database.execute(
            "INSERT OR REPLACE INTO stat_index_1 VALUES (?, ?, ?, ?)",
            (tree, now, names, packed),
        )
        self.forget(now - _LONGEST)

    def forget(self, before: float, most: int = _MOST) -> None:
        """Drop the trees that were last saved before then, and of the others the oldest, beyond `most` bytes.

        A tree that is unchanged isn't saved: one that is dropped though it is in use is hashed once more.
        """
        self._database.ensure(SCHEMA)
        self._database.execute(
            "DELETE FROM stat_index_1 WHERE saved < ? OR tree IN (SELECT tree FROM (SELECT tree,"
            " sum(length(paths) + length(stamps)) OVER (ORDER BY saved DESC, tree) AS total"
            " FROM stat_index_1) WHERE total > ?)",
            (before, most),
        )
