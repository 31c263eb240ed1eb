"""Snapshots by plain copies, for where overlayfs is refused. Slow, and works everywhere.

A draft begins as a copy of all its parents. What every file looked like then (inode, change time, size)
is kept; in the end, what looks otherwise has changed and is moved into the layer's directory, and
what is missing becomes a whiteout. The kernel sets change times; no program can hide a change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from polyarch.snapshot.copying import copy_metadata, lay_over
from polyarch.snapshot.directories import Directories, DirectorySnapshotter
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Stack
from polyarch.store.layerform import make_opaque, make_whiteout
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trouble import store_trouble

__all__ = ["NativeSnapshotter"]

_Look = tuple[int, int, int, int]


class NativeSnapshotter(DirectorySnapshotter):
    """A snapshotter that needs nothing of the kernel."""

    name = "native"

    @classmethod
    def open(cls, store: Store) -> Self:
        """See DirectorySnapshotter."""
        sample = store.temporary("whiteout")
        with store_trouble("make", sample):
            make_whiteout(str(sample))
            if stat.S_ISSOCK(os.lstat(sample).st_mode):
                store.know_sockets()
            sample.unlink()
        return cls(store)

    def prepare(
        self, parents: Stack, *, merged: bool = True, over: SnapshotID | None = None
    ) -> Draft:
        """See Snapshotter."""
        copied = merged and bool(parents or over)
        return _NativeDraft(self._directories, parents, copied=copied, over=over)

    @contextmanager
    def view(self, stack: Stack) -> Iterator[Path]:
        """See Snapshotter."""
        if len(stack) == 1 and self._directories.is_plain(stack[0]):
            yield self._directories.path(stack[0])
            return
        directory = self._store.temporary("view")
        try:
            _copy_stack(self._directories, stack, directory)
            yield directory
        finally:
            self._store.discard(directory)


class _NativeDraft(Draft):
    def __init__(
        self, directories: Directories, parents: Stack, *, copied: bool, over: SnapshotID | None
    ) -> None:
        self._directories = directories
        self._parents = parents
        self._over = over
        self._copied = copied
        self._tree = directories.store.temporary("draft", many=True)
        self._directory = self._tree
        self._looks: dict[str, _Look] | None = None

    @property
    def root(self) -> Path:
        return self._tree if self._copied else self.upper

    @property
    def upper(self) -> Path:
        return self._directory / "fs"

    @property
    def referrer(self) -> None:
        return None

    def __enter__(self) -> Self:
        self._directory = self._directories.start_over(self._parents, self._over)
        try:
            if self._copied:
                below = self._parents if self._over is None else (*self._parents, self._over)
                _copy_stack(self._directories, below, self._tree)
                self._looks = dict(_looks(str(self._tree), ""))
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._discard()

    def seal(self) -> Path:
        looks, self._looks = self._looks, None
        if looks is not None:
            with store_trouble("find the changes in", self._tree):
                _Difference(looks).move(str(self._tree), "", str(self.upper))
                copy_metadata(str(self._tree), os.lstat(self._tree), str(self.upper))
        return self.upper

    def commit(self, snapshot: SnapshotID, record: SnapshotRecord | None = None) -> None:
        self.seal()
        self._directories.publish(self._directory, snapshot, record)

    def _discard(self) -> None:
        self._directories.store.discard(self._directory)
        self._directories.store.discard(self._tree)


def _copy_stack(directories: Directories, stack: Stack, tree: Path) -> None:
    layers = [path for snapshot in stack for path in directories.paths(snapshot)]
    with store_trouble("copy layers to", tree):
        tree.mkdir(mode=0o755)
        for layer in layers:
            lay_over(layer, tree)


def _looks(directory: str, prefix: str) -> Iterator[tuple[str, _Look]]:
    for entry in list(os.scandir(directory)):
        status = entry.stat(follow_symlinks=False)
        yield prefix + entry.name, _look(status)
        if stat.S_ISDIR(status.st_mode):
            yield from _looks(entry.path, f"{prefix}{entry.name}/")


def _look(status: os.stat_result) -> _Look:
    return (status.st_mode, status.st_ino, status.st_ctime_ns, status.st_size)


class _Difference:
    """Moves out of a tree what doesn't look as it did."""

    def __init__(self, looks: dict[str, _Look]) -> None:
        self._looks = looks
        self._names: dict[str, set[str]] = {}
        for path in looks:
            directory, _, name = path.rpartition("/")
            self._names.setdefault(directory, set()).add(name)

    def move(self, directory: str, path: str, upper: str) -> bool:
        """Move the changes of a directory to `upper`, which exists; returns if there were any."""
        names = set(os.listdir(directory))
        gone = self._names.get(path, set()) - names
        for name in gone:
            make_whiteout(f"{upper}/{name}")
        changes = [self._move(directory, path, name, upper) for name in sorted(names)]
        return bool(gone) or any(changes)

    def _move(self, directory: str, path: str, name: str, upper: str) -> bool:
        source, target = f"{directory}/{name}", f"{upper}/{name}"
        below = f"{path}/{name}" if path else name
        status = os.lstat(source)
        before = self._looks.get(below)
        if not stat.S_ISDIR(status.st_mode):
            if before == _look(status):
                return False
            os.rename(source, target)
            return True
        if before is None or not stat.S_ISDIR(before[0]) or before[1] != status.st_ino:
            os.rename(source, target)
            if before is not None:
                make_opaque(target)
            return True
        os.mkdir(target)
        changed = self.move(source, below, target)
        if not changed and before == _look(status):
            os.rmdir(target)
            return False
        copy_metadata(source, status, target)
        return True
