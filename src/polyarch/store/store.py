"""One directory that holds all state, shared by many processes at once.

    version             the layout's number; the later ones are those of stores that have references, and sockets for whiteouts
    blobs/sha256/HEX    bytes by digest                                   (store.blobs)
    snapshots/ID/fs     unpacked layers, with what belongs to them beside       (snapshot.*)
    state.db            records                                           (store.database)
    emulators/HEX/      emulators with options of their own                   (emulation.tuned)
    machines/HEX/       kernels of virtual machines, made ready                  (runtime.vm.kernel)
    locks/NAME          locks with names                                  (store.locks)
    locks/work          held, shared, by all who may add something
    history/REF.*       records of the last builds                       (history.recording)
    logs/BUILD/         what steps printed, of the last builds               (store.buildlogs)
    reserve/            room for making room                             (store.reserve)
    tmp/NAME/           scratch of one living process, who holds an flock on the directory

Crash-only: nothing is ever closed down in an orderly way on purpose. What is visible under its final
name is whole; what isn't lies in the scratch directory of a process. The kernel lets go of the directory's
lock when that process dies, and whoever opens the store next finishes what it was at and removes it.

Nobody but its owner gets into the directory (store.access).
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from polyarch.errors import StoreError
from polyarch.paths import replacing
from polyarch.store.access import DIRECTORIES, claim
from polyarch.store.blobs import Blobs
from polyarch.store.copies import Copies
from polyarch.store.database import Database
from polyarch.store.layers import LayerRecords
from polyarch.store.leases import Lease, Leases
from polyarch.store.locks import Locks
from polyarch.store.recover import recover
from polyarch.store.refs import Refs
from polyarch.store.reserve import keep_reserve
from polyarch.store.snapshots import SnapshotRecords
from polyarch.store.spread import make_apart
from polyarch.store.statindex import StatIndex
from polyarch.store.trees import remove_tree
from polyarch.store.trouble import store_error, store_trouble

__all__ = ["Store", "is_abandoned"]

_VERSION = "1"
_WITH_REFERENCES = "2"
"""As before, but snapshots may have files that refer to others (`snapshot.references`), which a polyarch that knows
the first layout only would take for missing."""
_WITH_SOCKETS = "3"
"""As before, but whiteouts may be sockets (`store.layerform`), which overlayfs and older versions would show."""
_LAYOUTS = (_VERSION, _WITH_REFERENCES, _WITH_SOCKETS)


class Store:
    """The store in a directory, which is made if it isn't there; debris of the dead is removed.

    Use it in a `with`, or call `close`. May be used from many threads; after a fork the child gets
    a scratch directory and connections of its own. With `works=False` the caller promises to add no blobs
    or snapshots, and doesn't keep the collector from sweeping those that nothing refers to yet.
    With `ends=True` it promises to end the process, by `os._exit`, when the store is closed.
    Who may add something has all blobs leased that it looks for, or adds, until `release`.
    Raises StoreError.
    """

    def __init__(
        self, root: Path, *, sync: bool = False, works: bool = True, ends: bool = False
    ) -> None:
        self.root = root
        self._ends = ends
        self._held = ExitStack()
        self._kept = ExitStack()
        self._lock = threading.Lock()
        self._scratch: _Scratch | None = None
        self._fresh = 0
        self._has_references = False
        self._keeping = threading.Lock()
        self._lease: tuple[int, Lease] | None = None
        _open_layout(root)
        self.blobs = Blobs(
            root / "blobs",
            temporary=self.temporary,
            sync=sync,
            keep=self._keep if works else lambda _: None,
        )
        self.database = Database(root / "state.db")
        self.locks = Locks(root / "locks")
        self.refs = Refs(self.database)
        self.layers = LayerRecords(self.database)
        self.snapshots = SnapshotRecords(self.database)
        self.stat_index = StatIndex(self.database)
        self.copies = Copies(self.database)
        self.leases = Leases(root / "tmp", self.locks, self.temporary, self._is_alive)
        if works:
            keep_reserve(root)
            self._held.enter_context(self.locks.shared("work"))
        self._sweep()

    def _keep(self, blob: str) -> None:
        with self._keeping:
            if self._lease is None or self._lease[0] != os.getpid():
                # A child's leases are its own: it may live longer.
                self._lease = (os.getpid(), self._kept.enter_context(self.leases.hold()))
            self._lease[1].add(blob)

    def rest(self) -> None:
        """Let the collector have the blobs that only this process was at: nothing goes on in it now."""
        with self._keeping:
            self._kept.close()
            self._lease = None

    def release(self) -> None:
        """Let the collector have all that only this process was at; it adds nothing from here on."""
        self.rest()
        self._held.close()

    def know_references(self) -> None:
        """Mark the store as one in whose snapshots files refer to others, before the first does."""
        if not self._has_references:
            self._raise_layout(_WITH_REFERENCES)
            self._has_references = True

    def know_sockets(self) -> None:
        """Mark the store as one in whose snapshots whiteouts may be sockets, before the first is."""
        self._raise_layout(_WITH_SOCKETS)

    @property
    def has_sockets(self) -> bool:
        """Whether whiteouts may be sockets, so that the kernel mustn't merge layers. Raises StoreError."""
        return self._layout() == _WITH_SOCKETS

    def _layout(self) -> str:
        path = self.root / "version"
        with store_trouble("read", path):
            return path.read_text(encoding="ascii").strip()

    def _raise_layout(self, least: str) -> None:
        if _LAYOUTS.index(self._layout()) < _LAYOUTS.index(least):
            path = self.root / "version"
            with store_trouble("write", path), replacing(path) as aside:
                aside.write_text(f"{least}\n", encoding="ascii")

    @property
    def snapshots_directory(self) -> Path:
        """Where the snapshotter keeps its directories."""
        return self.root / "snapshots"

    @property
    def scratch(self) -> Path:
        """This process' own directory, on the store's file system; gone when the process is."""
        with self._lock:
            return self._own().path

    def temporary(self, kind: str = "file", *, many: bool = False) -> Path:
        """Return a fresh name in the scratch directory; nothing is there yet.

        With `many` it is for a tree in which many files will be made (`polyarch.store.spread`).
        """
        with self._lock:
            own = self._own()
            self._fresh += 1
            return (own.layers() if many else own.path) / f"{kind}-{self._fresh}"

    def _own(self) -> _Scratch:
        with store_trouble("make a directory in", self.root / "tmp"):
            if self._scratch is None or self._scratch.pid != os.getpid():
                self._scratch = _Scratch(self.root / "tmp")
            return self._scratch

    def discard(self, path: Path) -> None:
        """Remove a tree of the store: out of sight at once by a rename, then file by file."""
        aside = self.temporary("discarded")
        with store_trouble("remove", path):
            with suppress(FileNotFoundError):
                os.rename(path, aside)
            remove_tree(aside)

    def close(self) -> None:
        """Close the database and remove the scratch directory."""
        if self._ends:
            self.database.leave()
        else:
            self.database.close()
        self._kept.close()
        self._held.close()
        with self._lock:
            scratch, self._scratch = self._scratch, None
        if scratch is not None and scratch.pid == os.getpid():
            scratch.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _sweep(self) -> None:
        """Finish what the dead were at, and remove their scratch directories."""
        directory = self.root / "tmp"
        with store_trouble("open the store", directory):
            names = os.listdir(directory)
        recovered = False
        for name in names:
            path = directory / name
            with suppress(OSError), _locked(path) as free:
                if free and not recovered:
                    # While the scratch is there: who is killed at this leaves the need for it visible.
                    recover(self.database, self.snapshots, self.snapshots_directory)
                    recovered = True
                if free:
                    remove_tree(path)

    def _is_alive(self, name: str) -> bool:
        scratch = self._scratch
        if scratch is not None and scratch.path.name == name:
            return True
        return not is_abandoned(self.root / "tmp" / name)


def _open_layout(root: Path) -> None:
    claim(root)
    try:
        version = (root / "version").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        _create_layout(root)
        return
    except (OSError, UnicodeDecodeError) as error:
        wrapped = error if isinstance(error, OSError) else OSError(5, str(error))
        raise store_error(wrapped, "open the store", root) from error
    if version not in _LAYOUTS:
        raise StoreError(
            f"the store {root} has layout {version!r}, and this polyarch knows {', '.join(_LAYOUTS)}",
            hint="use the polyarch that made it, or another directory by POLYARCH_ROOT",
        )


def _create_layout(root: Path) -> None:
    with store_trouble("create the store", root):
        for name in DIRECTORIES:
            (root / name).mkdir(mode=0o700, exist_ok=True)
        (root / "blobs/sha256").mkdir(mode=0o700, exist_ok=True)
        # The version comes last: with it, all of the layout is there. It isn't written in tmp, where
        # another process that is a little ahead would sweep it away.
        with replacing(root / "version") as aside:
            aside.write_text(f"{_VERSION}\n", encoding="ascii")


class _Scratch:
    """A directory that lives as long as this process: an open file description holds its lock."""

    def __init__(self, parent: Path) -> None:
        self.pid = os.getpid()
        self.path, self._descriptor = self._make(parent)
        self._layers: Path | None = None

    def layers(self) -> Path:
        """Return a directory in it for trees of many files."""
        if self._layers is None:
            self._layers = make_apart(self.path, "layers")
        return self._layers

    def _make(self, parent: Path) -> tuple[Path, int]:
        while True:
            path = parent / f"{self.pid}-{os.urandom(6).hex()}"
            path.mkdir(mode=0o700)
            # A sweeper may take the directory for debris before the lock is on it: then again.
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if path.exists():
                        return path, descriptor
                os.close(descriptor)

    def remove(self) -> None:
        # What can't be removed now (a mount is still busy) is debris for the next who opens.
        with suppress(OSError):
            remove_tree(self.path)
        os.close(self._descriptor)


def is_abandoned(path: Path) -> bool:
    """Return whether the process whose scratch directory this is has ended."""
    try:
        with _locked(path) as free:
            return free
    except OSError:
        return True


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Try the lock of a scratch directory; gives whether nobody held it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        free = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(descriptor)
