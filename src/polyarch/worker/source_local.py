"""Build contexts: folders of this machine, read where they lie.

Nothing is transferred. What a context's ignore file leaves out is never looked at, and a file that
looks as it did when it was last hashed isn't read again.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from polyarch.errors import InputError
from polyarch.store.statindex import FileStamp, StatIndex
from polyarch.text.ignore import ContextFilter, Matcher
from polyarch.worker.tree import SourceTree, hash_file

__all__ = ["ContextDigests", "open_context"]


def open_context(folder: Path, matcher: Matcher | None, digests: ContextDigests) -> SourceTree:
    """Return the context in `folder`, without what `matcher` ignores."""
    chosen = ContextFilter(matcher) if matcher else None
    return SourceTree(
        root=folder.resolve(),
        is_context=True,
        ignores=chosen.ignores if chosen else None,
        may_keep=chosen.may_contain_kept if chosen else None,
        file_digest=digests.digest,
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
            found = _stamp(status, _hash(path, status))
            self._has_news = True
        self._seen[path] = found
        return found[5]

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


def _hash(path: str, status: os.stat_result) -> bytes:
    try:
        digest = hash_file(path, status)
        after = os.lstat(path)
    except OSError as error:
        raise InputError(
            f"can't read {path} of the build context: {error.strerror}",
            hint="mend its permissions, or leave it out by .dockerignore",
        ) from error
    if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
        raise InputError(
            f"{path} changed while it was read",
            hint="build again when nothing writes to the build context",
        )
    return digest
