"""Build contexts: folders of this machine, read where they lie.

Nothing is transferred. What a context's ignore file leaves out is never looked at, and a file that
looks as it did when it was last hashed isn't read again.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

from polyarch.store.statindex import FileStamp, StatIndex
from polyarch.text.ignore import ContextFilter, Matcher
from polyarch.worker.steady import check_unchanged, open_regular, reading_context
from polyarch.worker.tree import SourceTree, hash_open

__all__ = ["ContextDigests", "open_context"]

# A copy that follows takes the content of small files from memory, so that they are read once.
_SMALL = 1 << 16
_HELD_TOGETHER = 32 << 20


def open_context(folder: Path, matcher: Matcher | None, digests: ContextDigests) -> SourceTree:
    """Return the context in `folder`, without what `matcher` ignores."""
    chosen = ContextFilter(matcher) if matcher else None
    return SourceTree(
        root=folder.resolve(),
        is_context=True,
        ignores=chosen.ignores if chosen else None,
        may_keep=chosen.may_contain_kept if chosen else None,
        file_digest=digests.digest,
        held=digests.held,
    )


class ContextDigests:
    """Digests of files in contexts, remembered from one build to the next. Used by many threads."""

    def __init__(self, index: StatIndex, root: Path) -> None:
        self._index = index
        self._tree = str(root)
        self._lock = threading.Lock()
        self._known: dict[str, FileStamp] | None = None
        self._seen: dict[str, FileStamp] = {}
        self._started_ns = time.time_ns()
        self._has_news = False
        self._room = _HELD_TOGETHER
        self.held: dict[str, bytes] = {}

    def digest(self, path: str, status: os.stat_result) -> bytes:
        """Return the sha256 of a regular file's content.

        Raises InputError for a file that can't be read, or that changes while it is read.
        """
        with self._lock:
            if self._known is None:
                self._known = self._index.load(self._tree)
            stamp = self._known.get(path)
        found = _stamp(status, stamp[5] if stamp else b"")
        if stamp is None or stamp != found:
            found = _stamp(status, self._hash(path, status))
            self._has_news = True
        self._seen[path] = found
        return found[5]

    def _hash(self, path: str, status: os.stat_result) -> bytes:
        """Read a file; keep a small one for the copy that mostly follows, as long as there is room."""
        size = status.st_size
        with reading_context(path):
            descriptor = open_regular(path, status)
            try:
                if size > _SMALL:
                    digest = hash_open(descriptor)
                    check_unchanged(descriptor, path, status)
                    return digest
                data = os.read(descriptor, size + 1)
                check_unchanged(descriptor, path, status)
            finally:
                os.close(descriptor)
        if size <= self._room:
            self._room -= size
            self.held[path] = data
        return hashlib.sha256(data).digest()

    def save(self) -> None:
        """Remember what was hashed; nothing is written if there was nothing new."""
        if self._has_news:
            with self._lock:
                known = self._known or {}
            # What this build didn't look at another Dockerfile may: it stays while it is there.
            unseen = {
                path: stamp
                for path, stamp in known.items()
                if path not in self._seen and os.path.lexists(path)
            }
            merged = {**unseen, **self._seen}
            self._index.save(self._tree, merged, scanned_ns=self._started_ns)


def _stamp(status: os.stat_result, digest: bytes) -> FileStamp:
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_mode,
        digest,
    )
