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
from polyarch.snapshot.folders import Folders, FolderSnapshotter
from polyarch.snapshot.mounting import OverlayMode, mount_overlay, unmount
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Stack
from polyarch.store.layerform import is_opaque, is_whiteout
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trouble import FULL, store_error, store_trouble

__all__ = ["OverlaySnapshotter", "find_overlay_mode"]

_MARK = "work/incompat/volatile/dirty"
"""What a volatile mount leaves in its `workdir`. Source: Linux, fs/overlayfs/super.c."""


def find_overlay_mode(store: Store) -> OverlayMode | None:
    """Return the best mode in which overlay mounts work for this process, None if in none.

    Found out by mounting and looking at what a deletion leaves. About 2 ms.
    """
    for new_api, userxattr, volatile in product((True, False), repeat=3):
        mode = OverlayMode(userxattr=userxattr, volatile=volatile, new_api=new_api)
        folder = store.temporary("probe")
        try:
            if _works(folder, mode):
                return mode
        except OSError:
            continue
        finally:
            store.discard(folder)
    return None


def _works(folder: Path, mode: OverlayMode) -> bool:
    lower, upper, work, merged = (folder / name for name in ("lower", "upper", "work", "merged"))
    for path in (lower / "folder", upper, work, merged):
        path.mkdir(parents=True)
    (lower / "file").touch()
    mount_overlay((lower,), merged, mode, upper=upper, work=work)
    try:
        (merged / "file").unlink()
        (merged / "folder").rmdir()
        (merged / "folder").mkdir()
    finally:
        unmount(merged)
    return is_whiteout(os.lstat(upper / "file")) and is_opaque(str(upper / "folder"))


class OverlaySnapshotter(FolderSnapshotter):
    """A snapshotter over overlayfs, in the mount namespace that the process is in."""

    name = "overlay"

    def __init__(self, store: Store, mode: OverlayMode) -> None:
        super().__init__(store)
        self._mode = mode

    def prepare(
        self, parents: Stack, *, merged: bool = True, over: SnapshotID | None = None
    ) -> Draft:
        """See Snapshotter."""
        mounted = merged and bool(parents or over)
        return _OverlayDraft(self._folders, self._mode, parents, mounted=mounted, over=over)

    @contextmanager
    def view(self, stack: Stack) -> Iterator[Path]:
        """See Snapshotter."""
        if len(stack) == 1 and self._folders.is_plain(stack[0]):
            yield self._folders.path(stack[0])
            return
        lowers = _lowers(self._folders, stack)
        folder = self._store.temporary("view")
        # Without an upper directory overlayfs wants two layers: an empty one goes below.
        target, empty = folder / "merged", folder / "empty"
        with store_trouble("make a view in", folder):
            for path in (folder, target, empty):
                path.mkdir()
        try:
            if not stack:
                yield empty
                return
            with _mount_trouble(target), self._folders.needed(stack):
                mount_overlay([*lowers, empty], target, self._mode)
            try:
                yield target
            finally:
                with store_trouble("unmount", target):
                    unmount(target)
        finally:
            self._store.discard(folder)


class _OverlayDraft(Draft):
    def __init__(
        self,
        folders: Folders,
        mode: OverlayMode,
        parents: Stack,
        *,
        mounted: bool,
        over: SnapshotID | None,
    ) -> None:
        self._folders = folders
        self._mode = mode
        self._parents = parents
        self._over = over
        self._wants_mount = mounted
        self._is_mounted = False
        self._is_kept = False
        self._side = folders.store.temporary("draft", many=True)
        self._folder = self._side

    @property
    def root(self) -> Path:
        return self._side / "merged" if self._wants_mount else self.upper

    @property
    def upper(self) -> Path:
        return self._folder / "fs"

    def __enter__(self) -> Self:
        below = self._parents if self._over is None else (*self._parents, self._over)
        lowers = _lowers(self._folders, below) if self._wants_mount else []
        self._folder = self._folders.start_over(self._parents, self._over)
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
        self._folders.publish(self._folder, snapshot, record)
        self._is_kept = True

    def _mount(self, below: Stack, lowers: Sequence[Path]) -> None:
        with store_trouble("make a draft in", self._side):
            for path in (self._side, self._side / "merged", self._side / "work"):
                path.mkdir()
        with _mount_trouble(self.root), self._folders.needed(below):
            mount_overlay(lowers, self.root, self._mode, upper=self.upper, work=self._side / "work")
        self._is_mounted = True

    def _discard(self) -> None:
        if not self._is_kept:
            self._folders.store.discard(self._folder)
        if self._wants_mount and not _remove_side(str(self._side)):
            self._folders.store.discard(self._side)


def _remove_side(side: str) -> bool:
    """Remove the folder beside a draft, if nothing is in it but what overlayfs leaves there.

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


def _lowers(folders: Folders, stack: Stack) -> list[Path]:
    return [path for snapshot in reversed(stack) for path in reversed(folders.paths(snapshot))]


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
