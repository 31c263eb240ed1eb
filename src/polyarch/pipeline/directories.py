"""The directories that builds read as contexts, each opened once for the same ignore file.

So builds that are solved together list and hash one once, however many of them name it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from polyarch.digest import sha256
from polyarch.record import frozen
from polyarch.store.statindex import StatIndex
from polyarch.text.ignore import Matcher, exclusion
from polyarch.worker.source_local import ContextDigests, open_context
from polyarch.worker.tree import SourceTree

__all__ = ["Directories", "Opened"]


@frozen
class Opened:
    """A directory as a context: its files, what is left out of them, and a name for the two together."""

    tree: SourceTree
    matcher: Matcher | None
    place: str


class Directories:
    """Opens directories, from any thread, and remembers their digests for the next build."""

    def __init__(self, index: StatIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._opened: dict[str, Opened] = {}
        self._digests: list[ContextDigests] = []

    def open(self, directory: Path, patterns: Sequence[str]) -> Opened:
        """Return a directory without what `patterns` leave out. Raises InputError for patterns that aren't any."""
        root = directory.resolve()
        place = sha256("\n".join((str(root), *patterns)).encode("utf-8", "surrogateescape"))
        with self._lock:
            found = self._opened.get(place)
            if found is None:
                matcher = exclusion(patterns)
                digests = ContextDigests(self._index, root)
                tree = open_context(directory, matcher, digests)
                found = self._opened[place] = Opened(tree=tree, matcher=matcher, place=place)
                self._digests.append(digests)
        return found

    def save(self) -> None:
        """Remember what was read."""
        for each in self._digests:
            each.save()
