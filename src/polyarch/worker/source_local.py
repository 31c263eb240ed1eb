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
from polyarch.worker.tree import REPLACED, SourceTree, changed, hash_open, is_same_file

__all__ = ["ContextDigests", "open_context"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
        known = self._known
        if known is None:
            known = self._load()
        stamp = known.get(path)
        if stamp is None or not _fits(stamp, status):
            stamp = _stamp(status, _hash(path, status))
            self._has_news = True
        self._seen[path] = stamp
        return stamp[5]

    def _load(self) -> dict[str, FileStamp]:
        with self._lock:
            if self._known is None:
                self._known = self._index.load(self._tree)
            return self._known

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


def _fits(stamp: FileStamp, status: os.stat_result) -> bool:
    return (
        stamp[1] == status.st_mtime_ns
        and stamp[2] == status.st_ctime_ns
        and stamp[0] == status.st_size
        and stamp[3] == status.st_ino
        and stamp[4] == status.st_mode
    )


def _hash(path: str, status: os.stat_result) -> bytes:
    """Hash a file, which has to be the one that was looked at, before and after it is read."""
    try:
        descriptor = os.open(path, _READ)
        try:
            before = os.fstat(descriptor)
            digest = hash_open(descriptor) if is_same_file(before, status) else b""
            if not digest or not is_same_file(os.fstat(descriptor), status):
                raise changed(path)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in REPLACED:
            raise changed(path) from error
        raise InputError(
            f"can't read {path} of the build context: {error.strerror}",
            hint="mend its permissions, or leave it out by .dockerignore",
        ) from error
    return digest
