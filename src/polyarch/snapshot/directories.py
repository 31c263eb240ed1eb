"""What all snapshotters share: where snapshots lie, and how they appear and vanish at once.

snapshots/ID/fs      the layer
snapshots/ID/record  what its record says, see `polyarch.store.recover`
snapshots/ID/plain   there if the layer was made over nothing: no whiteouts in it, so its directory
                     is its merged tree
snapshots/ID/over    there if the layer goes on another one, which it names: together they are the layer
snapshots/ID/refs    there if files of the layer have their content in other snapshots, see `references`
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
from polyarch.snapshot.references import (
    REFERENCES,
    WHOLE,
    Reference,
    Referrer,
    find_reference,
    find_references,
)
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
        self._references: dict[SnapshotID, tuple[Reference, ...]] = {}

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
        if self.references(snapshot):
            return (self._make_whole(snapshot), path)
        try:
            base = (path.parent / _OVER).read_text(encoding="ascii")
        except FileNotFoundError:
            return (path,)
        return (self.path(SnapshotID(base)), path)

    def shapes(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """Do as `paths`, but copy no contents for it: files are to be opened by `open_file`."""
        if not self.references(snapshot):
            return self.paths(snapshot)
        whole = self._place(snapshot) / WHOLE
        tree = whole if whole.is_dir() else self.tree_of_references(snapshot)
        return (tree, self.path(snapshot))

    def references(self, snapshot: SnapshotID) -> tuple[Reference, ...]:
        """Return the files of the layer that have their content in other snapshots. Raises StoreError."""
        known = self._references.get(snapshot)
        if known is None:
            tree = self.tree_of_references(snapshot)
            with store_trouble("read the references in", tree):
                known = tuple(find_references(tree)) if tree.is_dir() else ()
            self._references[snapshot] = known
        return known

    def tree_of_references(self, snapshot: SnapshotID) -> Path:
        """Return where the files are that refer to others, each empty and as large as it looks."""
        return self._place(snapshot) / REFERENCES

    def referrer(self, draft: Path) -> Referrer:
        """Return what makes references in a draft that `start` has given."""
        return Referrer(draft, self._locate, self.store.know_references)

    def open_file(self, path: str) -> int:
        """Open a regular file of a snapshot's directory, wherever its content is; return a descriptor.

        Raises OSError.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        parts = self._parts(path)
        # Elsewhere the attributes mean nothing: a step may have made them.
        if parts is not None and parts[1] == REFERENCES:
            found = find_reference(path, parts[2])
            if found is None:
                raise OSError(errno.EIO, "its attributes are lost: it refers to nothing", path)
            path = str(self.store.snapshots_directory / found.layer / found.inside)
        return os.open(path, flags)

    def _locate(self, path: str) -> Reference | None:
        parts = self._parts(path)
        if parts is None:
            return None
        snapshot, directory, inside = parts
        if directory == REFERENCES:
            return find_reference(path, inside)
        return Reference(path=inside, layer=f"{snapshot}/{directory}", inside=inside)

    def _parts(self, path: str) -> tuple[str, str, str] | None:
        """Return a snapshot, which of its directories, and a path in that."""
        root = f"{self.store.snapshots_directory}/"
        parts = path.removeprefix(root).split("/", 2) if path.startswith(root) else ()
        return (parts[0], parts[1], parts[2]) if len(parts) == 3 else None

    def _make_whole(self, snapshot: SnapshotID) -> Path:
        """Return the tree of references with their contents, which is made if it isn't there.

        It appears beside the layer, which itself never changes, at once and whole.
        """
        whole = self._place(snapshot) / WHOLE
        if whole.is_dir():
            return whole
        from polyarch.snapshot.copying import lay_over  # noqa: PLC0415 few builds come here

        aside = self.store.temporary("snapshot", many=True)
        with store_trouble("copy what is referred to in", whole.parent):
            aside.mkdir()
            try:
                lay_over(self.tree_of_references(snapshot), aside, self.open_file)
                _publish(aside, whole)
            finally:
                self.store.discard(aside)
        self.store.snapshots.set_sizes({snapshot: self.usage(snapshot)})
        return whole

    @contextmanager
    def needed(self, stack: Stack) -> Iterator[None]:
        """Raise NotFound for an OSError in the block if a snapshot was there, and isn't any more."""
        try:
            yield
        # The kernel says ENOENT for a layer that was pruned, and doesn't say which.
        except OSError:
            for snapshot in stack:
                self._check(snapshot)
            raise

    def _check(self, snapshot: SnapshotID) -> None:
        """Raise NotFound if the snapshot, or another one that it needs, isn't there any more."""
        found = self.references(snapshot)
        if not found:
            self._look_up(snapshot)
        for each in (snapshot, *(reference.snapshot for reference in found)):
            self.path(SnapshotID(each))

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
            is_new = _publish(directory, self._place(snapshot))
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
        self._references.pop(snapshot, None)
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

    def shapes(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """See Snapshotter."""
        return self._directories.shapes(snapshot)

    def open_file(self, path: str) -> int:
        """See Snapshotter."""
        return self._directories.open_file(path)

    @contextmanager
    def layer(self, snapshot: SnapshotID) -> Iterator[Path]:
        """See Snapshotter."""
        paths = self._directories.shapes(snapshot)
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


def _publish(directory: Path, place: Path) -> bool:
    """Move a directory to its place; return whether nobody was faster. Raises OSError."""
    try:
        os.rename(directory, place)
    except OSError as error:
        # A directory that isn't empty is never replaced, so of two builds that made the same the first has won.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _make_layer(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)  # whatever the umask says
