"""Which content a file had when it was last read, known by its `stat`.

An unchanged build context is not read again: a file whose size, times, inode, mode and links are those of
the index has the content of the index. Files are kept by directory, so that a directory in which
nothing changed is one comparison, and its digest needs no look at its files. All directories of a tree are a
single row, packed, because they are always wanted together: a row for each would take longer to load
than some contexts take to hash. Saving a tree drops those that are old, and the oldest where there are too
many: builds in ever new directories would make the table grow for ever.

A file that was changed in the same tick of the kernel's clock in which it was read may look the same
afterwards; so those whose change time is too near to the scan are not kept ("racily clean").
"""

from __future__ import annotations

import stat
import struct
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from polyarch.record import field, frozen
from polyarch.store.database import Database

__all__ = ["NO_CONTENT", "NO_STAMP", "SCHEMA", "STAMP", "DirectoryStamps", "StatIndex"]

STAMP = struct.Struct("<qqqQII")
"""What a file is known by: size, mtime_ns, ctime_ns, inode, mode, links. Of a directory only the mode is there."""
NO_STAMP = b"\xff" * STAMP.size
"""The stamp of a file that isn't kept, as its times, before 1678 or after 2262, have more than 64 bits."""
NO_CONTENT = bytes(32)
"""In the place of the content of what is neither a regular file nor a link, or wasn't read."""

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS stat_index_2 (tree TEXT PRIMARY KEY, saved REAL NOT NULL,"
        " names BLOB NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"
    ),
)
_CONTENT = len(NO_CONTENT)
_TICK_NS = 20_000_000
_COARSE_NS = 2_100_000_000  # whole seconds: FAT counts by two
_LONGEST = 60 * 86400.0
_MOST = 256 << 20
"""Bytes of all trees: about two million files."""


@frozen
class DirectoryStamps:
    """What is known of the files of a directory, in the order of their names.

    `stamps` and `contents` hold a stamp and 32 bytes for each; `digest` is what was made of all of them, empty
    where some are missing. `is_sure` says that they come from the index, which keeps only those that tell a change.
    """

    names: Sequence[str]
    stamps: bytes
    contents: bytes
    digest: bytes = b""
    is_sure: bool = field(default=False, compare=False)

    @staticmethod
    def of(files: Mapping[str, tuple[bytes, bytes]]) -> DirectoryStamps:
        """Join the stamps and contents of files, by name in any order; there is no digest."""
        names = sorted(files)
        return DirectoryStamps(
            names=names,
            stamps=b"".join([files[name][0] for name in names]),
            contents=b"".join([files[name][1] for name in names]),
        )

    def is_of(self, names: Sequence[str], stamps: bytes) -> bool:
        """Return whether a directory with these files is unchanged, so that its digest is this one's."""
        return bool(self.digest) and self.stamps == stamps and self.names == names

    def by_name(self) -> dict[str, tuple[bytes, bytes]]:
        """Return the stamp and the content of each file."""
        return {name: (stamp, content) for name, stamp, content in self.rows()}

    def rows(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Give for each file its name, stamp and content."""
        for number, name in enumerate(self.names):
            stamp = self.stamps[number * STAMP.size : (number + 1) * STAMP.size]
            yield name, stamp, self.contents[number * _CONTENT : (number + 1) * _CONTENT]

    def find(self, name: str) -> bytes:
        """Return the content of a file; nothing if there is none, or it isn't known."""
        at = bisect_left(self.names, name)
        if at == len(self.names) or self.names[at] != name:
            return b""
        content = self.contents[at * _CONTENT : (at + 1) * _CONTENT]
        return b"" if content == NO_CONTENT else content


class StatIndex:
    """The file stat index of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, tree: str) -> dict[str, DirectoryStamps]:
        """Return the directories of a tree by path, as they were saved; none if it is unknown."""
        self._database.ensure(SCHEMA)
        statement = "SELECT names, data FROM stat_index_2 WHERE tree = ?"
        rows = self._database.execute(statement, (tree,))
        names, data = rows[0] if rows else (b"", b"")
        if not isinstance(names, bytes) or not isinstance(data, bytes) or not names:
            return {}
        return dict(_unpack(names, data))

    def save(
        self, tree: str, directories: Mapping[str, DirectoryStamps], *, scanned_ns: int
    ) -> None:
        """Replace the directories of a tree.

        `scanned_ns` is the time (`time.time_ns`) at which the scan began; files changed shortly
        before that, or later, are left out.
        """
        self._database.ensure(SCHEMA)
        kept = {path: _sure(each, scanned_ns) for path, each in directories.items()}
        now = time.time()
        self._database.execute(
            "INSERT OR REPLACE INTO stat_index_2 VALUES (?, ?, ?, ?)", (tree, now, *_pack(kept))
        )
        self.forget(now - _LONGEST)

    def forget(self, before: float, most: int = _MOST) -> None:
        """Drop the trees that were last saved before then, and of the others the oldest, beyond `most` bytes.

        A tree that is unchanged isn't saved: one that is dropped though it is in use is hashed once more.
        """
        self._database.ensure(SCHEMA)
        self._database.execute(
            "DELETE FROM stat_index_2 WHERE saved < ? OR tree IN (SELECT tree FROM (SELECT tree,"
            " sum(length(names) + length(data)) OVER (ORDER BY saved DESC, tree) AS total"
            " FROM stat_index_2) WHERE total > ?)",
            (before, most),
        )


def _sure(found: DirectoryStamps, scanned_ns: int) -> DirectoryStamps:
    """Leave out the files of which it isn't sure that their stamp tells a change."""
    if found.is_sure:
        return found
    sure, coarse = scanned_ns - _TICK_NS, scanned_ns - _COARSE_NS
    kept: dict[str, tuple[bytes, bytes]] = {}
    for name, stamp, content in found.rows():
        _, _, changed, _, mode, _ = STAMP.unpack(stamp)
        is_read = stat.S_ISREG(mode) or stat.S_ISLNK(mode)
        is_known = content != NO_CONTENT and changed < (sure if changed % 1_000_000_000 else coarse)
        if stamp != NO_STAMP and (is_known or not is_read):
            kept[name] = (stamp, content)
    return found if len(kept) == len(found.names) else DirectoryStamps.of(kept)


def _pack(directories: Mapping[str, DirectoryStamps]) -> tuple[bytes, bytes]:
    """Write directories as their names, and their other bytes, one after the other.

    A NUL ends each name, and another one each directory.
    """
    names = "\0\0".join("\0".join((path, *each.names)) for path, each in directories.items())
    parts = [
        part
        for each in directories.values()
        for part in (each.digest or NO_CONTENT, each.stamps, each.contents)
    ]
    return names.encode("utf-8", "surrogateescape"), b"".join(parts)


def _unpack(names: bytes, data: bytes) -> Iterator[tuple[str, DirectoryStamps]]:
    at = 0
    for text in names.decode("utf-8", "surrogateescape").split("\0\0"):
        path, *inside = text.split("\0")
        stamps = at + _CONTENT
        contents = stamps + len(inside) * STAMP.size
        end = contents + len(inside) * _CONTENT
        digest = data[at:stamps]
        yield (
            path,
            DirectoryStamps(
                names=inside,
                stamps=data[stamps:contents],
                contents=data[contents:end],
                digest=b"" if digest == NO_CONTENT else digest,
                is_sure=True,
            ),
        )
        at = end
