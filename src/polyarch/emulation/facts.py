"""What was found out about this machine, kept in a directory, so that it is found out once.

A fact is a piece of JSON under a key that names all it depends on: the kernel's release is added to
each, and `stamp` gives the part for a file. Losing facts costs time and nothing else, so a directory that
can't be written, or a file in it that doesn't parse, is ignored.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from polyarch.paths import replacing

__all__ = ["Facts", "stamp"]

T = TypeVar("T", bool, int, str, list[str])


def stamp(path: str) -> str:
    """Return a text that changes when the file at `path` does; empty if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{path}:{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _any(_fact: object) -> bool:
    return True


class Facts:
    """Facts in the file `facts.json` of `directory`; only in memory if that is None."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._path = directory / "facts.json" if directory is not None else None
        self._lock = threading.Lock()
        self._known: dict[str, object] | None = None

    def get(self, key: str, find_out: Callable[[], T], *, keep: Callable[[T], bool] = _any) -> T:
        """Return the fact called `key`, by `find_out` if it isn't known; kept if `keep` says so."""
        whole = f"{os.uname().release} {key}"
        with self._lock:
            known = self._load().get(whole)
        if known is not None:
            return known  # type: ignore[return-value] # written by us, under the same key
        fact = find_out()
        if not keep(fact):
            return fact
        with self._lock:
            self._load()[whole] = fact
            self._save()
        return fact

    def find(self, key: str) -> object:
        """Return the fact called `key`, None if it isn't known."""
        with self._lock:
            return self._load().get(f"{os.uname().release} {key}")

    def put(self, key: str, fact: str) -> None:
        """Keep a fact that was found out elsewhere, in place of what was known; "" forgets it."""
        whole = f"{os.uname().release} {key}"
        with self._lock:
            known = self._load()
            if fact:
                known[whole] = fact
            else:
                known.pop(whole, None)
            self._save()

    def _load(self) -> dict[str, object]:
        if self._known is None:
            self._known = {}
            if self._path is not None:
                with contextlib.suppress(OSError, ValueError):
                    known = json.loads(self._path.read_bytes())
                    self._known = known if isinstance(known, dict) else {}
        return self._known

    def _save(self) -> None:
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            # The store will be there, which is its owner's only.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self._path) as aside:
                aside.touch(mode=0o600)
                aside.write_text(json.dumps(self._known, indent=1))
