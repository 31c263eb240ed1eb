"""Packages of Red Hat, SUSE and their like: rpm's database, in SQLite (`rpmdb.sqlite`) or its own form (`Packages.db`).

Source: rpm's documentation of the package file format (headers), and of the ndb backend.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree
from polyarch.progress import check_cancelled

__all__ = ["find_packages", "wants"]

_DIRECTORIES = ("var/lib/rpm/", "usr/lib/sysimage/rpm/")
_SQLITE, _NDB = "rpmdb.sqlite", "Packages.db"
_LIMIT = 512 << 20
_LARGEST_HEADER = 64 << 20
_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR = 1000, 1001, 1002, 1003, 1011
_LICENSE, _ARCH, _SOURCE = 1014, 1022, 1044
_TEXTS = frozenset({_NAME, _VERSION, _RELEASE, _VENDOR, _LICENSE, _ARCH, _SOURCE})
_INT32, _STRING, _I18N = 4, 6, 9
_ENTRY = struct.Struct(">IIII")
_KEYS = "gpg-pubkey"
"""What the keys that packages were signed with are called in the list of packages."""
_SLOT = struct.Struct("<IIII")
_NDB_MAGIC, _SLOT_MAGIC, _BLOB_MAGIC = b"RpmP", b"Slot", b"BlbS"
_BLOCK = 16
_SLOT_PAGE = 4096


def wants(file: File) -> bool:
    """Tell whether a file is a database."""
    directory, name = file.path[: -len(file.name)], file.name
    return directory in _DIRECTORIES and name in {_SQLITE, _NDB} and not file.is_link


def find_packages(tree: Tree, file: File, release: Release) -> Iterator[Package]:
    """Give the packages that are installed."""
    if file.size > _LIMIT:
        return
    data = tree.read(file.path, _LIMIT)
    headers = _of_sqlite(data) if file.name == _SQLITE else _of_ndb(data)
    for header in headers:
        check_cancelled()
        package = _package(_fields(header), release, file.path)
        if package is not None:
            yield package


def _of_sqlite(data: bytes) -> Iterator[bytes]:
    """Give the headers of a database, which is read in memory: no file of others is opened by SQLite."""
    connection = sqlite3.connect(":memory:")
    try:
        # In WAL mode, as rpm leaves it, SQLite would look for a second file.
        connection.deserialize(data[:18] + b"\1\1" + data[20:])
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        for (blob,) in connection.execute("SELECT blob FROM Packages ORDER BY hnum"):
            if isinstance(blob, bytes):
                yield blob
    except sqlite3.Error:
        return
    finally:
        connection.close()


def _of_ndb(data: bytes) -> Iterator[bytes]:
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


def _fields(header: bytes) -> dict[int, str]:
    """Return what a header says of a package, by tags."""
    if len(header) < 8 or len(header) > _LARGEST_HEADER:
        return {}
    count, size = struct.unpack_from(">II", header)
    store = 8 + count * _ENTRY.size
    found: dict[int, str] = {}
    for at in range(8, min(store, len(header) - _ENTRY.size + 1), _ENTRY.size):
        tag, kind, offset, _ = _ENTRY.unpack_from(header, at)
        place = store + offset
        if offset >= size or place >= len(header):
            continue
        if tag in _TEXTS and kind in {_STRING, _I18N}:
            text = header[place : header.find(b"\0", place)]
            found[tag] = text.decode("utf-8", "replace")
        elif tag == _EPOCH and kind == _INT32 and place + 4 <= len(header):
            found[tag] = str(struct.unpack_from(">I", header, place)[0])
    return found


def _package(fields: dict[int, str], release: Release, path: str) -> Package | None:
    name, version = fields.get(_NAME, ""), fields.get(_VERSION, "")
    if not name or not version or name == _KEYS:
        return None
    number = fields.get(_RELEASE, "")
    return Package(
        type="rpm",
        namespace=release.id,
        name=name,
        version=f"{version}-{number}" if number else version,
        qualifiers=release.qualifiers(
            arch=fields.get(_ARCH, ""),
            epoch=fields.get(_EPOCH, ""),
            upstream=fields.get(_SOURCE, ""),
        ),
        license=fields.get(_LICENSE, ""),
        supplier=fields.get(_VENDOR, ""),
        path=path,
    )
