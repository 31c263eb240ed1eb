"""What is in use right now, so that the garbage collector leaves it alone.

A lease is a file of names in its process' scratch directory, and counts as long as that process lives, which
is known by the flock on the directory. Names are added under a lock that is shared with all who add, and
that the collector has alone while it looks at the leases and moves away what isn't leased: who adds a name
before keeps the thing, who adds it later looks for it in vain.

(Rows of the database would do as well, but the first write to it costs the syncing of a checkpoint when it
is closed: a quarter of the time that an unchanged build takes.)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.store.locks import Locks
from polyarch.store.trouble import store_trouble

__all__ = ["Lease", "Leases"]

_PREFIX = "lease-"
_LOCK = "leases"


class Lease:
    """Things that stay while this is held; made by `Leases.hold`."""

    def __init__(self, path: Path, locks: Locks) -> None:
        self._path = path
        self._locks = locks
        self._lock = threading.Lock()
        self.held: set[str] = set()

    def add(self, *resources: str) -> None:
        """Keep these too: snapshot ids and blob digests. To be called before they are looked up."""
        with self._lock:
            fresh = set(resources) - self.held
            if not fresh:
                return
            with self._locks.shared(_LOCK), store_trouble("write", self._path):
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                file = os.open(self._path, flags, 0o600)
                try:
                    os.write(file, "".join(f"{name}\n" for name in fresh).encode())
                finally:
                    os.close(file)
            self.held |= fresh


class Leases:
    """The leases of a store, whose processes have their scratch directories in `directory`."""

    def __init__(
        self,
        directory: Path,
        locks: Locks,
        temporary: Callable[[str], Path],
        is_alive: Callable[[str], bool],
    ) -> None:
        """Keep leases at fresh names that `temporary` gives; `is_alive` tells of a scratch directory."""
        self._directory = directory
        self._locks = locks
        self._temporary = temporary
        self._is_alive = is_alive

    @contextmanager
    def hold(self, resources: Iterable[str] = ()) -> Iterator[Lease]:
        """Keep `resources`, and what is added to the lease, until the block is left."""
        path = self._temporary(_PREFIX.rstrip("-"))
        lease = Lease(path, self._locks)
        owner = os.getpid()
        try:
            lease.add(*resources)
            yield lease
        finally:
            # A fork that leaves the block has nothing to let go of.
            if owner == os.getpid():
                with suppress(FileNotFoundError):
                    path.unlink()

    def held(self) -> frozenset[str]:
        """Return what living processes hold."""
        names: set[str] = set()
        with store_trouble("read the leases in", self._directory):
            for owner in os.listdir(self._directory):
                for text in self._texts(self._directory / owner):
                    names.update(text.splitlines())
        return frozenset(names)

    @contextmanager
    def frozen(self) -> Iterator[frozenset[str]]:
        """Give what is held; nobody can add to it before the block is left. Keep it short."""
        with self._locks.exclusive(_LOCK):
            yield self.held()

    def _texts(self, owner: Path) -> Iterator[str]:
        try:
            paths = [path for path in owner.iterdir() if path.name.startswith(_PREFIX)]
        except (FileNotFoundError, NotADirectoryError):
            return
        if paths and self._is_alive(owner.name):
            for path in paths:
                with suppress(FileNotFoundError):
                    yield path.read_text()
