"""The protocol of a snapshotter: layers as directories, and trees made of them.

A snapshot is the directory of one layer in the form that overlayfs has for upper directories (see
`polyarch.store.layerform`). It doesn't know its parents: a root file system is a tuple of snapshot
ids, base first, and the same snapshot may be part of many. A snapshot never changes after its commit.

A draft is a snapshot in the making. It lives in this process' scratch directory, so whatever kills the
process throws it away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NewType, Protocol, TypeVar

from polyarch.snapshot.references import Referrer
from polyarch.store.snapshots import SnapshotRecord

__all__ = ["Draft", "SnapshotID", "Snapshotter", "Stack"]

SnapshotID = NewType("SnapshotID", str)
Stack = Sequence[SnapshotID]
T = TypeVar("T")


class Draft(AbstractContextManager["Draft"], Protocol):
    """A layer in the making: leaving the `with` block without `commit` throws it away."""

    @property
    def root(self) -> Path:
        """The writable tree: parents and changes merged; of an unmerged draft the changes alone."""

    @property
    def referrer(self) -> Referrer | None:
        """What lets files refer to those of other snapshots; None where they can't."""

    @property
    def upper(self) -> Path:
        """The directory that will be the snapshot, in layer form.

        Of a merged draft it must not be written to, and is complete only after `seal`.
        """

    def seal(self) -> Path:
        """End writing: unmount `root`, and return `upper`, complete. May be repeated."""

    def commit(self, snapshot: SnapshotID, record: SnapshotRecord | None = None) -> None:
        """Seal, and make the layer visible as `snapshot`, atomically; record it as `record` says.

        If `snapshot` exists already (another process was faster), that one stays and this one is
        thrown away. Raises StoreError.
        """


class Snapshotter(Protocol):
    """Where snapshots are kept. All methods may be called from many threads and processes at once."""

    @property
    def name(self) -> str:
        """`overlay` or `native`."""

    def exists(self, snapshot: SnapshotID) -> bool:
        """Return whether the snapshot is here, whole."""

    def path(self, snapshot: SnapshotID) -> Path:
        """Return the directory of the snapshot's layer, not to be written to. Raises NotFound.

        Of a layer that goes on another one it is what was changed, and files that refer to others
        aren't in it: see `paths` and `layer`.
        """

    def paths(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """Return the directories that make the snapshot's layer, base first, with all contents.

        Where files refer to others, these are copied for it: `shapes` spares that. Raises NotFound, StoreError.
        """

    def shapes(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """Do as `paths`, for who looks at names and metadata, and opens files by `open_file`.

        Files that refer to others look like what they stand for there, and are empty. Raises NotFound, StoreError.
        """

    def open_file(self, path: str) -> int:
        """Open a regular file in one of the directories of `shapes` for reading. Raises OSError."""

    def layer(self, snapshot: SnapshotID) -> AbstractContextManager[Path]:
        """Give the snapshot's layer as one directory, in layer form. Raises NotFound, StoreError."""

    def prepare(
        self, parents: Stack, *, merged: bool = True, over: SnapshotID | None = None
    ) -> Draft:
        """Start a layer over `parents`, base first; use the result in a `with`.

        With `over` it is the next state of that layer, which went on the same parents: the draft begins
        with its files, and only what becomes another is kept. `over` stays for as long as the result, if
        the result's record names it as a parent; it must not go on another one itself. What is removed
        must not be in the parents: that would be hidden, too.

        With `merged=False` nothing is mounted or copied: `root` and `upper` are the layer's own empty
        directory, for writing a layer that needs nothing of its parents. Raises NotFound for a
        missing parent, NamespaceForbidden if the kernel refuses the mount, StoreError.
        """

    def view(self, stack: Stack) -> AbstractContextManager[Path]:
        """Give the merged tree of `stack`, base first, not to be written to.

        A stack of one layer without whiteouts of its own is its directory, as it is.
        """

    def unpack(
        self,
        snapshot: SnapshotID,
        fill: Callable[[Path], T],
        record: SnapshotRecord | None = None,
    ) -> T:
        """Make a snapshot with what `fill` writes, in layer form, into the empty directory it gets.

        It is recorded as `record` says. Returns the result of `fill`; when that raises, nothing is left. Two processes that unpack the
        same snapshot at once are both right.
        """

    def remove(self, snapshot: SnapshotID) -> None:
        """Remove the snapshot if it is here; the caller knows that nobody uses it."""

    def usage(self, snapshot: SnapshotID) -> int:
        """Return the bytes on disk that removing it would free, hard links counted once."""
