"""Snapshots by the kernel's overlayfs.

A draft's upper directory becomes the snapshot by a rename; nothing is copied but what a step changes.
Drafts are mounted `volatile` where that exists: what a step syncs (package managers do, file by file)
isn't worth waiting for in a directory that no crash leaves behind.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Self

from polyarch.errors import NamespaceForbidden
from polyarch.snapshot.directories import Directories, DirectorySnapshotter
from polyarch.snapshot.lowers import Lowers, find_lowers
from polyarch.snapshot.mounting import OverlayMode, mount_overlay, unmount
from polyarch.snapshot.references import Reference, Referrer, make_reference
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Stack
from polyarch.store.layerform import is_opaque, is_whiteout, make_whiteout
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trouble import FULL, store_error, store_trouble

__all__ = ["OverlaySnapshotter"]

_MARK = "work/incompat/volatile/dirty"
"""What a volatile mount leaves in its `workdir`. Source: Linux, fs/overlayfs/super.c."""

_SAMPLE = b"content" * 1000


def _find_mode(store: Store) -> OverlayMode | None:
    """Return the best mode in which overlay mounts work for this process, None if in none.

    Found out by mounting and looking at what a deletion leaves.
    """
    # The best comes first: in the classic call a long stack finds no room, `trusted.*` wants the machine's root, and
    # a kernel before 5.10 knows nothing of `volatile`.
    others = (
        OverlayMode(userxattr=userxattr, volatile=volatile, new_api=new_api)
        for new_api, userxattr, volatile in product((True, False), repeat=3)
    )
    for mode in (OverlayMode(refers=True), *others):
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
    # Layers of images have whiteouts that we make, and the kernel has to understand them.
    make_whiteout(str(lower / "hidden"))
    if stat.S_ISSOCK(os.lstat(lower / "hidden").st_mode):
        return False
    lowers, data = [lower], []
    if mode.refers:
        lowers.append(directory / "references")
        data.append(directory / "data/fs")
        _make_sample(directory)
    mount_overlay(lowers, merged, mode, upper=upper, work=work, data=data)
    try:
        if mode.refers and (merged / "in/sample").read_bytes() != _SAMPLE:
            return False
        # Some kernels mount in a user namespace, and then fail to write a whiteout or an opaque directory.
        (merged / "file").unlink()
        (merged / "directory").rmdir()
        (merged / "directory").mkdir()
    finally:
        unmount(merged)
    return is_whiteout(os.lstat(upper / "file")) and is_opaque(str(upper / "directory"))


def _make_sample(directory: Path) -> None:
    """Make a file in what will be the lowest layer that has its content in another directory."""
    reference = Reference(path="in/sample", layer="data/fs", inside="content")
    data, file = directory / reference.layer, directory / "references" / reference.path
    for path in (data, file.parent, directory / "lower/in"):
        path.mkdir(parents=True)
    (data / reference.inside).write_bytes(_SAMPLE)
    file.touch()
    make_reference(file, len(_SAMPLE), reference)


class OverlaySnapshotter(DirectorySnapshotter):
    """A snapshotter over overlayfs, in the mount namespace that the process is in."""

    name = "overlay"

    def __init__(self, store: Store, mode: OverlayMode) -> None:
        super().__init__(store)
        self._mode = mode

    @classmethod
    def open(cls, store: Store) -> Self | None:
        """See DirectorySnapshotter. Takes about 2 ms."""
        if store.has_sockets:
            return None
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
        directory = self._store.temporary("view")
        # Without an upper directory overlayfs wants two layers: an empty one goes below.
        target, empty = directory / "merged", directory / "empty"
        with store_trouble("make a view in", directory):
            for path in (directory, target, empty):
                path.mkdir()
        try:
            with store_trouble("make a view in", directory):
                lowers = find_lowers(self._directories, stack, directory, refers=self._mode.refers)
            if not stack:
                yield empty
                return
            with _mount_trouble(target), self._directories.needed(stack):
                # References are in the lowest, and go with the layer that they belong to.
                layers = lowers.directories if lowers.data else (*lowers.directories, empty)
                mount_overlay(layers, target, self._mode, data=lowers.data)
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
        self._referrer: Referrer | None = None

    @property
    def root(self) -> Path:
        return self._side / "merged" if self._wants_mount else self.upper

    @property
    def upper(self) -> Path:
        return self._directory / "fs"

    @property
    def referrer(self) -> Referrer | None:
        # In what is mounted, overlayfs wouldn't let us name what a file refers to.
        return self._referrer

    def __enter__(self) -> Self:
        below = self._parents if self._over is None else (*self._parents, self._over)
        lowers = self._find_lowers(below) if self._wants_mount else Lowers(directories=())
        self._directory = self._directories.start_over(self._parents, self._over)
        if self._mode.refers and not self._wants_mount:
            self._referrer = self._directories.referrer(self._directory)
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

    def _find_lowers(self, below: Stack) -> Lowers:
        with store_trouble("make a draft in", self._side):
            for path in (self._side, self._side / "merged", self._side / "work"):
                path.mkdir()
            return find_lowers(self._directories, below, self._side, refers=self._mode.refers)

    def _mount(self, below: Stack, lowers: Lowers) -> None:
        with _mount_trouble(self.root), self._directories.needed(below):
            mount_overlay(
                lowers.directories,
                self.root,
                self._mode,
                upper=self.upper,
                work=self._side / "work",
                data=lowers.data,
            )
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
