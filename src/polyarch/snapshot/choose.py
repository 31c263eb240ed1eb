"""Which snapshotter works here."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path

from polyarch.errors import InputError, NamespaceForbidden
from polyarch.late import load
from polyarch.snapshot.directories import DirectorySnapshotter
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Snapshotter, Stack
from polyarch.store.store import Store

__all__ = ["LateSnapshotter", "open_snapshotter"]

# The best comes first. Each is loaded only where something is mounted, and then mostly the other one isn't.
_KINDS = {
    "overlay": "snapshot.overlay:OverlaySnapshotter",
    "native": "snapshot.native:NativeSnapshotter",
}


def open_snapshotter(store: Store, name: str = "auto") -> Snapshotter:
    """Return the snapshotter of that name (`overlay`, `native`), or the best one that works.

    To be called in the process, user and mount namespace in which it will be used. Raises InputError
    for an unknown name, NamespaceForbidden if the one that was asked for doesn't work.
    """
    _check(name)
    for each in _KINDS if name == "auto" else (name,):
        kind = load(_KINDS[each])
        assert isinstance(kind, type)
        assert issubclass(kind, DirectorySnapshotter)
        found = kind.open(store)
        if found is not None:
            return found
    raise NamespaceForbidden(
        "the kernel refuses overlay mounts here",
        hint="'polyarch doctor' looks for the cause",
    )


class LateSnapshotter(DirectorySnapshotter):
    """The snapshotter that `open_snapshotter` gives, which is asked when a tree is first wanted.

    To find out what works takes a mount, and an unchanged build needs none: it looks whether snapshots
    are there, and all kinds keep them alike.
    """

    def __init__(self, store: Store, name: str = "auto") -> None:
        """Take the name of a snapshotter. Raises InputError for an unknown one."""
        super().__init__(store)
        _check(name)
        self._wanted = name
        self._lock = threading.Lock()
        self._opened: Snapshotter | None = None

    @property
    def name(self) -> str:
        """See Snapshotter. Raises NamespaceForbidden, like all that follows."""
        return self._open().name

    def prepare(
        self, parents: Stack, *, merged: bool = True, over: SnapshotID | None = None
    ) -> Draft:
        """See Snapshotter."""
        return self._open().prepare(parents, merged=merged, over=over)

    def view(self, stack: Stack) -> AbstractContextManager[Path]:
        """See Snapshotter."""
        return self._open().view(stack)

    def _open(self) -> Snapshotter:
        with self._lock:
            if self._opened is None:
                self._opened = open_snapshotter(self._store, self._wanted)
            return self._opened


def _check(name: str) -> None:
    if name not in {"auto", *_KINDS}:
        raise InputError(f"unknown snapshotter {name!r}", hint="use 'auto', 'overlay' or 'native'")
