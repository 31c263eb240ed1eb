"""The packages in a stack of layers, such that a layer that was looked through once isn't again.

What a file says depends on nothing but itself and the distribution, so what the files of a layer say is remembered by the
layer. What of it counts depends on the layers above: a file is there if the merged tree has it as the layer does, and
no higher layer has one in its place. Links are the exception, as they lead to files of any layer: they are followed anew.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from polyarch import __version__
from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release, read_release
from polyarch.attest.sbom.scan import Scan, distinct, is_wanted, packages_of
from polyarch.attest.sbom.tree import File, Tree
from polyarch.golang.json import compact
from polyarch.record import asdict, field, frozen
from polyarch.store.database import Database

__all__ = ["Layer", "ScanMemory", "scan_layers"]

_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS scans_1 (layer TEXT PRIMARY KEY, files TEXT NOT NULL,"
        " used REAL NOT NULL) WITHOUT ROWID"
    ),
)
_KEPT_SECONDS = 90 * 24 * 3600.0
_FRESH_SECONDS = 24 * 3600.0
"""Within so long a further use isn't noted, so that an unchanged build, again, writes nothing."""


@frozen
class Layer:
    """A layer by a name that no other has, and how its files are had: what it changes, in a directory."""

    name: str
    opened: Callable[[], AbstractContextManager[Path]] = field(compare=False, repr=False)


@frozen
class _Said:
    """A file of a layer and the packages that it says are there; none for a link, which is asked again."""

    file: File
    packages: tuple[Package, ...] = ()


@frozen
class _Looked:
    """What is known of a layer: what its files say, and the paths of those that might, and say nothing."""

    said: tuple[_Said, ...] = ()
    silent: tuple[str, ...] = ()


class ScanMemory:
    """What a store remembers of the files of layers. Another version of polyarch begins anew."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.ensure(_SCHEMA)

    def find(self, layer: str, release: Release) -> _Looked | None:
        """Return what is known of a layer; None if it wasn't looked through yet. Raises StoreError."""
        key = _key(layer, release)
        rows = self._database.execute("SELECT files, used FROM scans_1 WHERE layer = ?", (key,))
        if not rows:
            return None
        text, used = rows[0]
        assert isinstance(text, str)
        assert isinstance(used, float)
        now = time.time()
        if now - used > _FRESH_SECONDS:
            self._database.execute("UPDATE scans_1 SET used = ? WHERE layer = ?", (now, key))
        said, silent = json.loads(text)
        return _Looked(
            said=tuple(
                _Said(file=File(**file), packages=tuple(Package(**each) for each in packages))
                for file, packages in said
            ),
            silent=tuple(silent),
        )

    def keep(self, layer: str, release: Release, looked: _Looked) -> None:
        """Remember what the files of a layer say. Raises StoreError."""
        now = time.time()
        said = [[asdict(each.file), [asdict(one) for one in each.packages]] for each in looked.said]
        row = (_key(layer, release), compact([said, looked.silent]).decode(), now)
        with self._database.transaction():
            self._database.execute("INSERT OR REPLACE INTO scans_1 VALUES (?, ?, ?)", row)
            self._database.execute("DELETE FROM scans_1 WHERE used < ?", (now - _KEPT_SECONDS,))


def _key(layer: str, release: Release) -> str:
    return f"{__version__} {release.id}-{release.version} {layer}"


def scan_layers(root: Path, layers: Sequence[Layer], memory: ScanMemory) -> Scan:
    """Find the packages in a root file system that is made of layers, base first.

    What is found is what `scan` finds in it. Raises Cancelled, NotFound for a layer that isn't there, StoreError.
    """
    tree = Tree(root=root)
    release = read_release(tree)
    seen: set[str] = set()
    highest: list[_Said] = []
    for layer in reversed(layers):
        looked = memory.find(layer.name, release)
        if looked is None:
            with layer.opened() as directory:
                looked = _look_through(Tree(root=directory), release)
            memory.keep(layer.name, release, looked)
        # Of one path only the highest layer's file can be there.
        highest += (each for each in looked.said if each.file.path not in seen)
        seen.update(looked.silent, (each.file.path for each in looked.said))
    there = _There(root)
    found = sorted((each for each in highest if there.has(each.file)), key=_order)
    packages = (
        package
        for each in found
        for package in (
            packages_of(tree, each.file, release) if each.file.is_link else each.packages
        )
    )
    return Scan(packages=distinct(packages), release=release)


def _look_through(tree: Tree, release: Release) -> _Looked:
    said, silent = [], []
    for file in filter(is_wanted, tree.files()):
        packages = () if file.is_link else tuple(packages_of(tree, file, release))
        if packages or file.is_link:
            said.append(_Said(file=file, packages=packages))
        else:
            silent.append(file.path)
    return _Looked(said=tuple(said), silent=tuple(silent))


def _order(listed: _Said) -> tuple[tuple[bool, str], ...]:
    """Sort as a walk gives files: those of a directory, then those of the directories in it."""
    *directories, name = listed.file.path.split("/")
    return (*((True, each) for each in directories), (False, name))


class _There:
    """Tells what a root has, by paths of which no part is a link."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._directories = {"": True}

    def has(self, file: File) -> bool:
        """Tell whether there is a file as it was seen in its layer."""
        if not self._is_directory(file.path.rpartition("/")[0]):
            return False
        try:
            status = os.lstat(f"{self._root}/{file.path}")
        except OSError:
            return False
        if file.is_link:
            return stat.S_ISLNK(status.st_mode)
        is_program = bool(status.st_mode & 0o111)
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_size == file.size
            and is_program == file.is_program
        )

    def _is_directory(self, path: str) -> bool:
        known = self._directories.get(path)
        if known is None:
            known = self._is_directory(path.rpartition("/")[0]) and _is_directory(
                f"{self._root}/{path}"
            )
            self._directories[path] = known
        return known


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
