"""What all snapshotters share: where snapshots lie, and how they appear and vanish at once.

snapshots/ID/fs      the layer
snapshots/ID/record  what its record says, see `polyarch.store.recover`
snapshots/ID/plain   there if the layer was made over nothing: no whiteouts in it, so its directory
                     is its merged tree
snapshots/ID/over    there if the layer goes on another one, which it names: together they are the layer
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from polyarch.errors import InternalError, NotFound, StoreError
from polyarch.record import replace
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Stack
from polyarch.store.recover import RECORD_NAME
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trees import tree_size
from polyarch.store.trouble import store_trouble

__all__ = ["Directories", "DirectorySnapshotter"]

T = TypeVar("T")
_OVER = "over"
_FEW = 1000
"""Files that are looked at in passing; more take longer than a build should wait."""


class Directories:
    """The directories of a store's snapshots."""

    def __init__(self, store: Store) -> None:
        self.store = store
        # A layer is asked for by every step above it: a chain of steps would look n * n / 2 times.
        self._known: dict[SnapshotID, tuple[Path, ...]] = {}

    def exists(self, snapshot: SnapshotID) -> bool:
        """Return whether the snapshot is here."""
        return os.path.isdir(self._place(snapshot))

    def path(self, snapshot: SnapshotID) -> Path:
        """Return the directory of the layer. Raises NotFound."""
        path = self._place(snapshot) / "fs"
        if not os.path.isdir(path):
            raise NotFound(
                f"the snapshot {snapshot} isn't in the store",
                hint="it was pruned while it was needed: build again",
            )
        return path

    def paths(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """Return the directories that the snapshot's layer is made of, base first. Raises NotFound.

        What was found is taken to stay: a build leases the snapshots that it uses.
        """
        known = self._known.get(snapshot)
        if known is None:
            known = self._known[snapshot] = self._look_up(snapshot)
        return known

    def _look_up(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        path = self.path(snapshot)
        try:
            base = (path.parent / _OVER).read_text(encoding="ascii")
        except FileNotFoundError:
            return (path,)
        return (self.path(SnapshotID(base)), path)

    @contextmanager
    def needed(self, stack: Stack) -> Iterator[None]:
        """Raise NotFound for an OSError in the block if a snapshot was there, and isn't any more."""
        try:
            yield
        # The kernel says ENOENT for a layer that was pruned, and doesn't say which.
        except OSError:
            for snapshot in stack:
                self._look_up(snapshot)
            raise

    def is_plain(self, snapshot: SnapshotID) -> bool:
        """Return whether the layer is known to hold no whiteouts."""
        return os.path.exists(self._place(snapshot) / "plain")

    def start(self) -> Path:
        """Make a directory in the scratch with an empty layer in it, `fs`, mode 0755."""
        directory = self.store.temporary("snapshot", many=True)
        with store_trouble("make a snapshot in", directory):
            directory.mkdir(mode=0o700)
            _make_layer(directory / "fs")
        return directory

    def start_over(self, parents: Stack, over: SnapshotID | None = None) -> Path:
        """Do as `start`; the layer's root has the mode and owner of that of the topmost parent.

        The layer goes on that of `over`, if that is given.
        """
        parents = parents if over is None else (*parents, over)
        directory = self.start()
        with store_trouble("make a snapshot in", directory):
            if parents:
                # A merged root shows those of the topmost layer.
                status = os.stat(self.path(parents[-1]))
                os.chown(directory / "fs", status.st_uid, status.st_gid)
                os.chmod(directory / "fs", status.st_mode & 0o7777)
            else:
                (directory / "plain").touch()
            if over is not None:
                (directory / _OVER).write_text(over, encoding="ascii")
        return directory

    def publish(self, directory: Path, snapshot: SnapshotID, record: SnapshotRecord | None) -> None:
        """Make what `start` has given visible as `snapshot`, or throw it away if that is there.

        The snapshot is recorded after that.
        """
        record = record or SnapshotRecord(id=snapshot)
        if not record.size:
            # Of few files, the size is known before anybody asks: by it a build learns that the store is full.
            record = replace(record, size=tree_size(directory, most=_FEW))
        with store_trouble("keep the snapshot", directory):
            # Before the rename: a process that is killed right after it leaves a snapshot whose record can be made up for.
            (directory / RECORD_NAME).write_text(record.to_json(), encoding="utf-8")
            try:
                os.rename(directory, self._place(snapshot))
                is_new = True
            except OSError as error:
                # A directory that isn't empty is never replaced, so of two builds that made the same the first has won.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                is_new = False
        try:
            self.store.snapshots.add(record)
        except StoreError:
            # A full disk may have had room for the one and not for the other: what nothing is known of is in the way.
            if is_new:
                self.remove(snapshot)
            raise
        if not is_new:
            self.store.discard(directory)

    def unpack(
        self, snapshot: SnapshotID, fill: Callable[[Path], T], record: SnapshotRecord | None
    ) -> T:
        """Make a snapshot of what `fill` writes into a fresh layer."""
        directory = self.start()
        try:
            result = fill(directory / "fs")
        except BaseException:
            self.store.discard(directory)
            raise
        self.publish(directory, snapshot, record)
        return result

    def remove(self, snapshot: SnapshotID) -> None:
        """Remove the snapshot if it is here."""
        self._known.pop(snapshot, None)
        self.store.discard(self._place(snapshot))

    def usage(self, snapshot: SnapshotID) -> int:
        """Return its bytes on disk."""
        return tree_size(self._place(snapshot))

    def _place(self, snapshot: SnapshotID) -> Path:
        if not snapshot or "/" in snapshot or snapshot.startswith("."):
            raise InternalError(f"{snapshot!r} can't name a snapshot")
        return self.store.snapshots_directory / snapshot


class DirectorySnapshotter(ABC):
    """A snapshotter but for how layers are merged into one tree: see `Snapshotter`."""

    @classmethod
    def open(cls, store: Store) -> Self | None:
        """Return a snapshotter of this kind for `store`, None where this process can't have one."""
        return cls(store)

    def __init__(self, store: Store) -> None:
        self._store = store
        self._directories = Directories(store)

    @property
    @abstractmethod
    def name(self) -> str:
        """See Snapshotter."""

    @abstractmethod
    def prepare(
        self, parents: Stack, *, merged: bool = True, over: SnapshotID | None = None
    ) -> Draft:
        """See Snapshotter."""

    @abstractmethod
    def view(self, stack: Stack) -> AbstractContextManager[Path]:
        """See Snapshotter."""

    def exists(self, snapshot: SnapshotID) -> bool:
        """See Snapshotter."""
        return self._directories.exists(snapshot)

    def path(self, snapshot: SnapshotID) -> Path:
        """See Snapshotter."""
        return self._directories.path(snapshot)

    def paths(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """See Snapshotter."""
        return self._directories.paths(snapshot)

    @contextmanager
    def layer(self, snapshot: SnapshotID) -> Iterator[Path]:
        """See Snapshotter."""
        paths = self._directories.paths(snapshot)
        if len(paths) == 1:
            yield paths[0]
            return
        # Whiteouts are in the upper one only, and hide nothing but what is in the lower one.
        with self.view((snapshot,)) as root:
            yield root

    def unpack(
        self,
        snapshot: SnapshotID,
        fill: Callable[[Path], T],
        record: SnapshotRecord | None = None,
    ) -> T:
        """See Snapshotter."""
        return self._directories.unpack(snapshot, fill, record)

    def remove(self, snapshot: SnapshotID) -> None:
        """See Snapshotter."""
        self._directories.remove(snapshot)

    def usage(self, snapshot: SnapshotID) -> int:
        """See Snapshotter."""
        return self._directories.usage(snapshot)


def _make_layer(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)  # whatever the umask says
