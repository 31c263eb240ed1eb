"""Packages of Red Hat, SUSE and their like: what rpm's database says, whatever its form.

Source: rpm's documentation of the package file format (headers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.rpmfiles import of_bdb, of_ndb, of_sqlite
from polyarch.attest.sbom.tree import File, Tree
from polyarch.progress import check_cancelled

__all__ = ["find_packages", "wants"]

_DIRECTORIES = ("var/lib/rpm/", "usr/lib/sysimage/rpm/")
_SQLITE, _NDB, _BDB = "rpmdb.sqlite", "Packages.db", "Packages"
_LOG = "-wal"
_LIMIT = 512 << 20
_LARGEST_HEADER = 64 << 20
_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR = 1000, 1001, 1002, 1003, 1011
_LICENSE, _ARCH, _SOURCE = 1014, 1022, 1044
_TEXTS = frozenset({_NAME, _VERSION, _RELEASE, _VENDOR, _LICENSE, _ARCH, _SOURCE})
_INT32, _STRING, _I18N = 4, 6, 9
_ENTRY = struct.Struct(">IIII")
_KEYS = "gpg-pubkey"
"""What the keys that packages were signed with are called in the list of packages."""


def wants(file: File) -> bool:
    """Tell whether a file is a database."""
    directory, name = file.path[: -len(file.name)], file.name
    return directory in _DIRECTORIES and name in {_SQLITE, _NDB, _BDB} and not file.is_link


def find_packages(tree: Tree, file: File, release: Release) -> Iterator[Package]:
    """Give the packages that are installed."""
    if file.size > _LIMIT:
        return
    for header in _headers(tree, file):
        check_cancelled()
        package = _package(_fields(header), release, file.path)
        if package is not None:
            yield package


def _headers(tree: Tree, file: File) -> Iterator[bytes]:
    data = tree.read(file.path, _LIMIT)
    if file.name == _SQLITE:
        return of_sqlite(data, tree.read(file.path + _LOG, _LIMIT))
    return of_ndb(data) if file.name == _NDB else of_bdb(data)


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
