"""Results of a build's promises that other promises of it begin with, as layouts: each is made once, until the build ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

__all__ = ["Layouts"]


class Layouts:
    """The layouts of one build, by refs. In any thread; promises refer to older ones, so nobody waits for himself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._addresses: dict[str, str] = {}
        self._directories = ExitStack()

    def once(
        self,
        ref: str,
        directory: Callable[[], Path],
        make: Callable[[Path], str],
        discard: Callable[[Path], None],
    ) -> str:
        """Return the address that `make` returned for a ref, having it made in a new directory if nobody has yet.

        Raises what `make` does, which is tried again by who comes next.
        """
        with self._lock:
            lock = self._locks.setdefault(ref, threading.Lock())
        with lock:
            if ref not in self._addresses:
                path = directory()
                self._directories.callback(discard, path)
                self._addresses[ref] = make(path)
            return self._addresses[ref]

    def clear(self) -> None:
        """Remove them all: the build has ended."""
        self._addresses.clear()
        self._directories.close()
