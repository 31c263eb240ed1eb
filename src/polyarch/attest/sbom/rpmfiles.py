"""The files of rpm's database, in all of its forms -> the headers of packages in them. They are read as data, whole.

    rpmdb.sqlite   SQLite (since 2020), with what is only in its log, `rpmdb.sqlite-wal`
    Packages.db    rpm's own form, ndb (SUSE)
    Packages       a hash of Berkeley DB (until 2020)

Source: SQLite's file format, "The Write-Ahead Log"; rpm's ndb backend; Berkeley DB's `db_page.h`.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

__all__ = ["of_bdb", "of_ndb", "of_sqlite"]

_SLOT = struct.Struct("<IIII")
_NDB_MAGIC, _SLOT_MAGIC, _BLOB_MAGIC = b"RpmP", b"Slot", b"BlbS"
_BLOCK = 16
_SLOT_PAGE = 4096


# --- SQLite ---

_WAL_MAGICS = (0x377F0682, 0x377F0683)
_WAL_HEAD = struct.Struct(">IIIIII")
_FRAME = struct.Struct(">IIII")
_FRAME_SIZE, _WAL_HEAD_SIZE = 24, 32


def of_sqlite(data: bytes, log: bytes = b"") -> Iterator[bytes]:
    """Give the headers of a database, which is read in memory: no file of others is opened by SQLite."""
    whole = _with_log(data, log)
    connection = sqlite3.connect(":memory:")
    try:
        # In WAL mode, as rpm leaves it, SQLite would look for a second file.
        connection.deserialize(whole[:18] + b"\1\1" + whole[20:])
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        for (blob,) in connection.execute("SELECT blob FROM Packages ORDER BY hnum"):
            if isinstance(blob, bytes):
                yield blob
    except sqlite3.Error:
        return
    finally:
        connection.close()


def _with_log(data: bytes, log: bytes) -> bytes:
    """Return a database with the pages that its log has of transactions that were ended."""
    if len(log) < _WAL_HEAD_SIZE:
        return data
    magic, _, size, _, salt, more_salt = _WAL_HEAD.unpack_from(log)
    if magic not in _WAL_MAGICS or not 512 <= size <= 65536:
        return data
    pages: dict[int, bytes] = {}
    open_pages: dict[int, bytes] = {}
    count = len(data) // size
    for at in range(_WAL_HEAD_SIZE, len(log) - _FRAME_SIZE - size + 1, _FRAME_SIZE + size):
        number, pages_then, *salts = _FRAME.unpack_from(log, at)
        # Frames of an older round of the log have other salts.
        if salts != [salt, more_salt]:
            break
        open_pages[number] = log[at + _FRAME_SIZE : at + _FRAME_SIZE + size]
        if pages_then:
            pages |= open_pages
            open_pages, count = {}, pages_then
    if not pages or count * size > len(data) + len(log):
        return data
    whole = bytearray(data[: count * size].ljust(count * size, b"\0"))
    for number, page in pages.items():
        if 0 < number <= count:
            whole[(number - 1) * size : number * size] = page
    return bytes(whole)


# --- ndb ---


def of_ndb(data: bytes) -> Iterator[bytes]:
    """Give the headers of a database: slots say in which blocks of 16 bytes each is."""
    if data[:4] != _NDB_MAGIC or len(data) < 32:
        return
    (pages,) = struct.unpack_from("<I", data, 12)
    # The first slots are the head of the file.
    for at in range(32, min(pages * _SLOT_PAGE, len(data) - _BLOCK), _BLOCK):
        if data[at : at + 4] != _SLOT_MAGIC:
            continue
        _, number, block, _count = _SLOT.unpack_from(data, at)
        start = block * _BLOCK
        if not number or data[start : start + 4] != _BLOB_MAGIC or start + _BLOCK > len(data):
            continue
        (size,) = struct.unpack_from("<I", data, start + 12)
        yield data[start + _BLOCK : start + _BLOCK + size]


# --- Berkeley DB ---

_HASH_MAGIC = 0x00061561
_PAGE_HEAD = 26
_HASH_PAGES = frozenset({2, 13})
_OVERFLOW_PAGE = 7
_IN_PLACE, _ELSEWHERE = 1, 3


def of_bdb(data: bytes) -> Iterator[bytes]:
    """Give the headers of a hash: its pages have pairs of items, and large ones lie on a chain of pages."""
    order = next((each for each in "<>" if data[12:16] == struct.pack(f"{each}I", _HASH_MAGIC)), "")
    if not order:
        return
    (size,) = struct.unpack_from(f"{order}I", data, 20)
    if not 512 <= size <= 65536:
        return
    pages = _Pages(data, size, order)
    for number in range(1, len(data) // size):
        yield from pages.values(number)


class _Pages:
    """The pages of a hash, by their numbers."""

    def __init__(self, data: bytes, size: int, order: str) -> None:
        self._data = data
        self._size = size
        self._order = order

    def values(self, number: int) -> Iterator[bytes]:
        """Give the values on a page; the keys are numbers of packages."""
        page = self._page(number)
        if page[25] not in _HASH_PAGES:
            return
        (count,) = struct.unpack_from(f"{self._order}H", page, 20)
        count = min(count, (self._size - _PAGE_HEAD) // 2)
        places = struct.unpack_from(f"{self._order}{count}H", page, _PAGE_HEAD)
        for key, value in zip(places[::2], places[1::2], strict=False):
            # Items are laid from the end of the page: each ends where the one before it begins.
            item = page[value:key]
            if item[:1] == bytes([_IN_PLACE]):
                yield item[1:]
            elif item[:1] == bytes([_ELSEWHERE]) and len(item) >= 12:
                yield self._chain(*struct.unpack_from(f"{self._order}II", item, 4))

    def _chain(self, number: int, length: int) -> bytes:
        """Return what lies on a chain of pages."""
        found = bytearray()
        seen: set[int] = set()
        while number and number not in seen and len(found) < length:
            seen.add(number)
            page = self._page(number)
            if page[25] != _OVERFLOW_PAGE:
                break
            (used,) = struct.unpack_from(f"{self._order}H", page, 22)
            found += page[_PAGE_HEAD : _PAGE_HEAD + used]
            (number,) = struct.unpack_from(f"{self._order}I", page, 16)
        return bytes(found[:length])

    def _page(self, number: int) -> bytes:
        page = self._data[number * self._size : (number + 1) * self._size]
        return page.ljust(self._size, b"\0")
