"""Snapshots by the kernel's overlayfs.

A draft's upper directory becomes the snapshot by a rename; nothing is copied but what a step changes.
Drafts are mounted `volatile` where that exists: what a step syncs (package managers do, file by file)
isn't worth waiting for in a directory that no crash leaves behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Self

from polyarch.errors import NamespaceForbidden
from polyarch.snapshot.directories import Directories, DirectorySnapshotter
from polyarch.snapshot.mounting import OverlayMode, mount_overlay, unmount
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Stack
from polyarch.store.layerform import is_opaque, is_whiteout
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trouble import FULL, store_error, store_trouble

__all__ = ["OverlaySnapshotter"]

_MARK = "work/incompat/volatile/dirty"
"""What a volatile mount leaves in its `workdir`. Source: Linux, fs/overlayfs/super.c."""


def _find_mode(store: Store) -> OverlayMode | None:
    """Return the best mode in which overlay mounts work for this process, None if in none.

    Found out by mounting and looking at what a deletion leaves.
    """
    # The best comes first: in the classic call a long stack finds no room, `trusted.*` wants the machine's root, and
    # a kernel before 5.10 knows nothing of `volatile`.
    for new_api, userxattr, volatile in product((True, False), repeat=3):
        mode = OverlayMode(userxattr=userxattr, volatile=volatile, new_api=new_api)
        directory = store.temporary("probe")
        try:
            if _works(directory, mode):
                return mode
        except OSError:
            continue
        finally:
            store.discard(directory)
    return None


def _works(directory: Path, mode: OverlayMode) -> bool:
    lower, upper, work, merged = (directory / name for name in ("lower", "upper", "work", "merged"))
    for path in (lower / "directory", upper, work, merged):
        path.mkdir(parents=True)
    (lower / "file").touch()
    mount_overlay((lower,), merged, mode, upper=upper, work=work)
    try:
        # Some kernels mount in a user namespace, and then fail to write a whiteout or an opaque directory.
        (merged / "file").unlink()
        (merged / "directory").rmdir()
        (merged / "directory").mkdir()
    finally:
        unmount(merged)
    return is_whiteout(os.lstat(upper / "file")) and is_opaque(str(upper / "directory"))


class OverlaySnapshotter(DirectorySnapshotter):
    """A snapshotter over overlayfs, in the mount namespace that the process is in."""

    name = "overlay"

    def __init__(self, store: Store, mode: OverlayMode) -> None:
        super().__init__(store)
        self._mode = mode

    @classmethod
    def open(cls, store: Store) -> Self | None:
        """See DirectorySnapshotter. Takes about 2 ms."""
        mode = _find_mode(store)
        return None if mode is None else cls(store, mode)

    def prepare(
        self, parents: Stack, *, merged: bool = True, over: SnapshotID | None = None
    ) -> Draft:
        """See Snapshotter."""
        mounted = merged and bool(parents or over)
        return _OverlayDraft(self._directories, self._mode, parents, mounted=mounted, over=over)

    @contextmanager
    def view(self, stack: Stack) -> Iterator[Path]:
        """See Snapshotter."""
        if len(stack) == 1 and self._directories.is_plain(stack[0]):
            yield self._directories.path(stack[0])
            return
        lowers = _lowers(self._directories, stack)
        directory = self._store.temporary("view")
        # Without an upper directory overlayfs wants two layers: an empty one goes below.
        target, empty = directory / "merged", directory / "empty"
        with store_trouble("make a view in", directory):
            for path in (directory, target, empty):
                path.mkdir()
        try:
            if not stack:
                yield empty
                return
            with _mount_trouble(target), self._directories.needed(stack):
                mount_overlay([*lowers, empty], target, self._mode)
            try:
                yield target
            finally:
                with store_trouble("unmount", target):
                    unmount(target)
        finally:
            self._store.discard(directory)


class _OverlayDraft(Draft):
    def __init__(
        self,
        directories: Directories,
        mode: OverlayMode,
        parents: Stack,
        *,
        mounted: bool,
        over: SnapshotID | None,
    ) -> None:
        self._directories = directories
        self._mode = mode
        self._parents = parents
        self._over = over
        self._wants_mount = mounted
        self._is_mounted = False
        self._is_kept = False
        self._side = directories.store.temporary("draft", many=True)
        self._directory = self._side

    @property
    def root(self) -> Path:
        return self._side / "merged" if self._wants_mount else self.upper

    @property
    def upper(self) -> Path:
        return self._directory / "fs"

    def __enter__(self) -> Self:
        below = self._parents if self._over is None else (*self._parents, self._over)
        lowers = _lowers(self._directories, below) if self._wants_mount else []
        self._directory = self._directories.start_over(self._parents, self._over)
        try:
            if self._wants_mount:
                self._mount(below, lowers)
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
        try:
            self.seal()
        finally:
            self._discard()

    def seal(self) -> Path:
        if self._is_mounted:
            with store_trouble("unmount", self.root):
                unmount(self.root)
            self._is_mounted = False
        return self.upper

    def commit(self, snapshot: SnapshotID, record: SnapshotRecord | None = None) -> None:
        self.seal()
        self._directories.publish(self._directory, snapshot, record)
        self._is_kept = True

    def _mount(self, below: Stack, lowers: Sequence[Path]) -> None:
        with store_trouble("make a draft in", self._side):
            for path in (self._side, self._side / "merged", self._side / "work"):
                path.mkdir()
        with _mount_trouble(self.root), self._directories.needed(below):
            mount_overlay(lowers, self.root, self._mode, upper=self.upper, work=self._side / "work")
        self._is_mounted = True

    def _discard(self) -> None:
        if not self._is_kept:
            self._directories.store.discard(self._directory)
        if self._wants_mount and not _remove_side(str(self._side)):
            self._directories.store.discard(self._side)


def _remove_side(side: str) -> bool:
    """Remove the directory beside a draft, if nothing is in it but what overlayfs leaves there.

    That is known: to look what is there, as for a tree of others, takes ten times as many calls.
    """
    with suppress(FileNotFoundError):
        os.unlink(f"{side}/work/{_MARK}")
    for name in (
        "work/work/incompat/volatile",
        "work/work/incompat",
        "work/work",
        "work",
        "merged",
    ):
        with suppress(OSError):
            os.rmdir(f"{side}/{name}")
    try:
        os.rmdir(side)
    except OSError:
        return False
    return True


def _lowers(directories: Directories, stack: Stack) -> list[Path]:
    paths = (path for snapshot in reversed(stack) for path in reversed(directories.paths(snapshot)))
    # Images may have the same layer twice, and overlayfs takes none twice (ELOOP): what is in it is there the topmost time.
    return list(dict.fromkeys(paths))


@contextmanager
def _mount_trouble(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise store_error(error, "mount an overlay at", target) from error
        raise NamespaceForbidden(
            f"can't mount an overlay at {target}: {error.strerror}",
            hint="'polyarch doctor' tells what this machine allows; POLYARCH_SNAPSHOTTER=native copies files",
        ) from error
