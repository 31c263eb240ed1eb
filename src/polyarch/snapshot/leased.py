"""A snapshotter whose every snapshot is leased before anybody looks whether it is there.

So what a build has found stays until the build has ended, and what the collector took is found missing,
which a build knows how to deal with.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from polyarch.snapshot.references import Referrer
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Snapshotter, Stack
from polyarch.store.snapshots import SnapshotRecord

__all__ = ["LeasedSnapshotter"]

T = TypeVar("T")


class _Lease(Protocol):
    """The part of `polyarch.store.leases.Lease` that is needed."""

    def add(self, *resources: str) -> None:
        """Keep these, too."""


class LeasedSnapshotter:
    """Another snapshotter, with a lease on all that goes through it."""

    def __init__(
        self, inner: Snapshotter, lease: _Lease, on_new: Callable[[], None] = lambda: None
    ) -> None:
        """Lease what goes through `inner`; `on_new` is called after each snapshot that was made."""
        self._inner = inner
        self._lease = lease
        self._on_new = on_new

    def leased_by(self, lease: _Lease) -> LeasedSnapshotter:
        """Return the same with another lease, in place of this one."""
        return LeasedSnapshotter(self._inner, lease, self._on_new)

    @property
    def name(self) -> str:
        """See Snapshotter."""
        return self._inner.name

    def exists(self, snapshot: SnapshotID) -> bool:
        """See Snapshotter."""
        self._lease.add(snapshot)
        return self._inner.exists(snapshot)

    def path(self, snapshot: SnapshotID) -> Path:
        """See Snapshotter."""
        self._lease.add(snapshot)
        return self._inner.path(snapshot)

    def paths(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """See Snapshotter."""
        self._lease.add(snapshot)
        return self._inner.paths(snapshot)

    def shapes(self, snapshot: SnapshotID) -> tuple[Path, ...]:
        """See Snapshotter."""
        self._lease.add(snapshot)
        return self._inner.shapes(snapshot)

    def open_file(self, path: str) -> int:
        """See Snapshotter."""
        return self._inner.open_file(path)

    def layer(self, snapshot: SnapshotID) -> AbstractContextManager[Path]:
        """See Snapshotter."""
        self._lease.add(snapshot)
        return self._inner.layer(snapshot)

    def prepare(
        self, parents: Stack, *, merged: bool = True, over: SnapshotID | None = None
    ) -> Draft:
        """See Snapshotter."""
        self._lease.add(*parents, *([over] if over is not None else []))
        draft = self._inner.prepare(parents, merged=merged, over=over)
        return _LeasedDraft(draft, self._lease, self._on_new)

    def view(self, stack: Stack) -> AbstractContextManager[Path]:
        """See Snapshotter."""
        self._lease.add(*stack)
        return self._inner.view(stack)

    def unpack(
        self,
        snapshot: SnapshotID,
        fill: Callable[[Path], T],
        record: SnapshotRecord | None = None,
    ) -> T:
        """See Snapshotter."""
        self._lease.add(snapshot)
        result = self._inner.unpack(snapshot, fill, record)
        self._on_new()
        return result

    def remove(self, snapshot: SnapshotID) -> None:
        """See Snapshotter."""
        self._inner.remove(snapshot)

    def usage(self, snapshot: SnapshotID) -> int:
        """See Snapshotter."""
        return self._inner.usage(snapshot)


class _LeasedDraft(Draft):
    def __init__(self, inner: Draft, lease: _Lease, on_new: Callable[[], None]) -> None:
        self._inner = inner
        self._lease = lease
        self._on_new = on_new

    @property
    def root(self) -> Path:
        return self._inner.root

    @property
    def upper(self) -> Path:
        return self._inner.upper

    @property
    def referrer(self) -> Referrer | None:
        return self._inner.referrer

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inner.__exit__(kind, error, traceback)

    def seal(self) -> Path:
        return self._inner.seal()

    def commit(self, snapshot: SnapshotID, record: SnapshotRecord | None = None) -> None:
        # Nothing records it yet, so a collection could take it for what a killed build has left.
        self._lease.add(snapshot)
        self._inner.commit(snapshot, record)
        self._on_new()
