"""Locks with names, held against all processes and all threads of this one.

A lock is an `flock` on a file of its own, so the kernel lets go of it when its holder dies. Each
taking opens the file anew; therefore threads of one process exclude each other, too, and a lock can't
be taken twice by the same thread: don't nest a name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.pattern import pattern
from polyarch.store.trouble import store_trouble

__all__ = ["Locks"]

_PLAIN = pattern(r"[A-Za-z0-9_.:@+-]{1,150}\Z")
_POLL_SECONDS = 0.02
"""Between attempts to get a lock that others hold: flock can wait by itself, but not for a cancelling as well."""


class Locks:
    """The locks of a store; a name is any text."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def exclusive(
        self, name: str, *, wait: bool = True, check: Callable[[], None] | None = None
    ) -> Iterator[bool]:
        """Hold the lock `name` alone inside the block; gives whether it is held.

        That is always so with `wait`; without, a lock that others hold gives False. `check` is called
        now and then while waiting, and ends that by raising (`CancelToken.check`).
        """
        with self._held(name, fcntl.LOCK_EX, wait, check) as held:
            yield held

    @contextmanager
    def shared(
        self, name: str, *, wait: bool = True, check: Callable[[], None] | None = None
    ) -> Iterator[bool]:
        """Hold the lock `name` together with other sharers; otherwise like `exclusive`."""
        with self._held(name, fcntl.LOCK_SH, wait, check) as held:
            yield held

    def sweep(self) -> int:
        """Remove the files of locks that nobody holds; returns how many."""
        removed = 0
        with store_trouble("list the locks", self._root):
            names = os.listdir(self._root)
        for name in names:
            path = self._root / name
            with suppress(OSError):
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    # Whoever opens the file from here on waits, or finds another one in its place when it has the lock.
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_same(file, path):
                        os.unlink(path)
                        removed += 1
                finally:
                    os.close(file)
        return removed

    @contextmanager
    def _held(
        self, name: str, kind: int, wait: bool, check: Callable[[], None] | None
    ) -> Iterator[bool]:
        file = self._take(self._path(name), kind, wait, check)
        try:
            yield file is not None
        finally:
            if file is not None:
                os.close(file)

    def _path(self, name: str) -> Path:
        # A name that says something is worth having in a listing; any other one must not leave the directory.
        plain = _PLAIN.match(name) is not None and name[0] != "."
        return self._root / (name if plain else hashlib.sha256(name.encode()).hexdigest())

    def _take(
        self, path: Path, kind: int, wait: bool, check: Callable[[], None] | None
    ) -> int | None:
        while True:
            with store_trouble("lock", path):
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            taken = False
            try:
                with store_trouble("lock", path):
                    taken = _flock(file, kind, wait, check)
                if not taken:
                    return None
                # A sweep may have removed the file between our open and our lock: take a new one.
                taken = _is_same(file, path)
                if taken:
                    return file
            finally:
                if not taken:
                    os.close(file)


def _flock(file: int, kind: int, wait: bool, check: Callable[[], None] | None) -> bool:
    if wait and check is None:
        fcntl.flock(file, kind)
        return True
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not wait or check is None:
                return False
        check()
        time.sleep(_POLL_SECONDS)  # flock can't be waited for together with a cancellation


def _is_same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
