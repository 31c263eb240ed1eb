"""Build contexts: directories of this machine, read where they lie.

Nothing is transferred. What a context's ignore file leaves out is never looked at, and a file that
looks as it did when it was last hashed isn't read again. Large files of one directory are hashed side by side.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from functools import partial
from pathlib import Path

from polyarch.look import Status
from polyarch.progress import cancellable, check_cancelled, current_token
from polyarch.store.statindex import NO_CONTENT, STAMP, DirectoryStamps, StatIndex
from polyarch.text.ignore import ContextFilter, Matcher
from polyarch.threads import side_by_side
from polyarch.worker.listing import Listing, stamp_of
from polyarch.worker.steady import (
    SteadyDirectory,
    check_unchanged,
    read_link,
    reading_context,
)
from polyarch.worker.tree import SMALL_FILE, Combine, SourceTree, hash_link, hash_open

__all__ = ["ContextDigests", "open_context"]

# A copy that follows takes the content of small files from memory, so that they are read once.
_HELD_TOGETHER = 32 << 20
_WORTH_A_THREAD = 1 << 20
"""Bytes of a file from which on it is hashed beside others: that takes as long as a few starts of threads."""
_MAX_THREADS = 8

_NOTHING = DirectoryStamps(names=[], stamps=b"", contents=b"")
_Files = dict[str, tuple[bytes, bytes]]
"""By name: a stamp, and the content of the file when it had that."""


def open_context(directory: Path, matcher: Matcher | None, digests: ContextDigests) -> SourceTree:
    """Return the context in `directory`, without what `matcher` ignores."""
    chosen = ContextFilter(matcher) if matcher else None
    return SourceTree(
        root=directory.resolve(),
        is_context=True,
        ignores=chosen.ignores if chosen else None,
        may_keep=chosen.may_contain_kept if chosen else None,
        file_digest=digests.digest,
        contents=digests,
    )


class ContextDigests:
    """Digests of files in contexts, remembered from one build to the next. Used by many threads."""

    def __init__(self, index: StatIndex, root: Path) -> None:
        self._index = index
        self._tree = str(root)
        self._lock = threading.Lock()
        self._known: dict[str, DirectoryStamps] | None = None
        """By directory: what the last builds left."""
        self._whole: dict[str, DirectoryStamps] = {}
        self._single: dict[str, _Files] = {}
        """Of directories of which single files were asked for."""
        self._started_ns = time.time_ns()
        self._has_news = False
        self._held: dict[str, dict[str, tuple[tuple[int, int], bytes]]] = {}
        """By directory and name: small files that were just read, and which look they had."""
        self._room = _HELD_TOGETHER

    def of_directory(self, path: str, listing: Listing, combine: Combine, /) -> bytes:
        """See Contents."""
        # Several steps of a build may read the same directory, the first time it is built as well.
        before = self._whole.get(path) or self._before(path)
        if before.is_of(listing.names, listing.stamps):
            self._whole[path] = before
            return before.digest
        known = before.by_name()
        directory = SteadyDirectory(path)
        contents = []
        large: dict[int, tuple[str, Status]] = {}
        try:
            for number, (name, status) in enumerate(listing):
                check_cancelled()
                stamp = listing.stamps[number * STAMP.size : (number + 1) * STAMP.size]
                if status.st_size >= _WORTH_A_THREAD and _is_to_be_read(name, status, stamp, known):
                    large[number] = name, status
                    contents.append(b"")
                else:
                    contents.append(self._content(directory, name, (status, stamp), known))
            if large:
                self._has_news = True
                _hash_all(directory, large, contents)
        finally:
            directory.close()
        self._has_news |= _has_changed(path, known, listing)
        found = DirectoryStamps(
            names=listing.names,
            stamps=listing.stamps,
            contents=b"".join(contents),
            digest=combine(listing, contents),
        )
        self._whole[path] = found
        return found.digest

    def digest(self, path: str, status: Status) -> bytes:
        """Return the sha256 of a regular file's content. Raises as `of_directory`."""
        parent, _, name = path.rpartition("/")
        files = self._single.get(parent)
        if files is None:
            files = self._single.setdefault(parent, self._before(parent).by_name())
        directory = SteadyDirectory(parent)
        try:
            look = (status, stamp_of(status))
            content = self._content(directory, name, look, files)
        finally:
            directory.close()
        files[name] = (look[1], content)
        return content

    def find(self, directory: str, name: str, /) -> bytes:
        """See Contents."""
        whole = self._whole.get(directory)
        if whole is not None:
            return whole.find(name)
        return self._single.get(directory, {}).get(name, (b"", b""))[1]

    def total(self, directory: str, listing: Listing, /) -> bytes:
        """See Contents."""
        whole = self._whole.get(directory)
        if whole is None or not whole.is_of(listing.names, listing.stamps):
            return b""
        names = "\0".join(whole.names).encode("utf-8", "surrogateescape")
        return hashlib.sha256(b"\0".join((names, whole.stamps, whole.contents))).digest()

    def take(self, directory: str, name: str, status: Status, /) -> bytes | None:
        """See Contents."""
        held = self._held.get(directory, {}).pop(name, None)
        return held[1] if held is not None and held[0] == _moment(status) else None

    def save(self) -> None:
        """Remember what was read; nothing is written if there was nothing new."""
        if self._has_news:
            self._index.save(self._tree, self._merged(), scanned_ns=self._started_ns)

    def _before(self, directory: str) -> DirectoryStamps:
        with self._lock:
            if self._known is None:
                self._known = self._index.load(self._tree)
        return self._known.get(directory, _NOTHING)

    def _content(
        self, directory: SteadyDirectory, name: str, look: tuple[Status, bytes], known: _Files
    ) -> bytes:
        """Return the content of a file, given its status and stamp, as it is known or by reading."""
        status, stamp = look
        before = known.get(name)
        if before is not None and before[0] == stamp:
            return before[1]
        self._has_news = True
        if stat.S_ISREG(status.st_mode):
            return self._hash(directory, name, status)
        if stat.S_ISLNK(status.st_mode):
            return hash_link(read_link(f"{directory.path}/{name}", status))
        return NO_CONTENT

    def _hash(self, directory: SteadyDirectory, name: str, status: Status) -> bytes:
        """Read a file; keep a small one for the copy that mostly follows, as long as there is room."""
        size = status.st_size
        if size > SMALL_FILE:
            return _hash_large(directory, name, status)
        data = directory.read(name, status)
        if size <= self._room:
            self._room -= size
            held = self._held.setdefault(directory.path, {})
            held[name] = (_moment(status), data)
        return hashlib.sha256(data).digest()

    def _merged(self) -> dict[str, DirectoryStamps]:
        """Return what is known now.

        What this build didn't look at another Dockerfile may: it stays while it is there.
        """
        known = self._known or {}
        looked_at = self._whole.keys() | self._single.keys()
        merged = {
            path: each
            for path, each in known.items()
            if path not in looked_at and os.path.lexists(path)
        }
        for path in looked_at:
            before, whole = known.get(path, _NOTHING), self._whole.get(path)
            if whole is None:
                merged[path] = DirectoryStamps.of(_there(path, self._single[path]))
            elif whole is before or before.names == whole.names:
                merged[path] = whole
            else:
                merged[path] = _with_others(path, whole, before)
        return merged


def _has_changed(path: str, known: _Files, listing: Listing) -> bool:
    """Return whether there is something to save of a directory of which each file is as it is known.

    Files that are known and not in the listing may be ignored by this build alone.
    """
    if len(known) == len(listing.names):
        return True
    others = known.keys() - listing.names
    return any(not os.path.lexists(f"{path}/{name}") for name in others)


def _there(directory: str, files: _Files) -> _Files:
    return {name: each for name, each in files.items() if os.path.lexists(f"{directory}/{name}")}


def _hash_large(directory: SteadyDirectory, name: str, status: Status) -> bytes:
    path = f"{directory.path}/{name}"
    with reading_context(path):
        descriptor = directory.open(name, status)
        try:
            digest = hash_open(descriptor)
            check_unchanged(descriptor, path, status)
        finally:
            os.close(descriptor)
    return digest


def _is_to_be_read(name: str, status: Status, stamp: bytes, known: _Files) -> bool:
    return stat.S_ISREG(status.st_mode) and known.get(name, (b"",))[0] != stamp


def _hash_all(
    directory: SteadyDirectory, large: dict[int, tuple[str, Status]], contents: list[bytes]
) -> None:
    """Put the digests of files of a directory where they belong in `contents`, by number."""
    directory.share()
    token = current_token()

    def hash_one(number: int, name: str, status: Status) -> None:
        with cancellable(token):
            contents[number] = _hash_large(directory, name, status)

    tasks = [partial(hash_one, number, *each) for number, each in large.items()]
    side_by_side(tasks, min(_MAX_THREADS, os.cpu_count() or 1), name="hash")


def _moment(status: Status) -> tuple[int, int]:
    return status.st_ino, status.st_ctime_ns


def _with_others(path: str, whole: DirectoryStamps, before: DirectoryStamps) -> DirectoryStamps:
    """Add what was known of files that this build left out, and that are there still."""
    found = whole.by_name()
    others = {name: each for name, each in before.by_name().items() if name not in found}
    there = _there(path, others)
    return DirectoryStamps.of({**there, **found}) if there else whole
