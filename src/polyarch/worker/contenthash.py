"""Digests of what a copy reads: the half of a cache key that looks at files.

Two trees have the same digest if COPY makes the same files of them, times aside: a file that was only
touched is the same file. Names count below the source; the source's own name counts only where it
reaches the destination and the op doesn't hold it (several matches of a pattern), so that moving
content from one folder to another doesn't rebuild.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable

from polyarch.digest import Digest
from polyarch.graph.op import CopyAction
from polyarch.text.ignore import Matcher, exclusion
from polyarch.text.wildcard import split_pattern
from polyarch.worker.tree import (
    Entry,
    SourceTree,
    clean_source,
    find_literal,
    find_path,
    find_sources,
    find_starts,
    select,
)

__all__ = ["Note", "digest_of_copy", "digest_of_path"]

Note = Callable[[tuple[str, bytes]], None]
"""Hears of each file that a digest is made of: its path on this machine, and what counts of it.

One value, so that a list's `append` will do: unchanged builds pay for each file.
"""


def digest_of_copy(tree: SourceTree, action: CopyAction, note: Note | None = None) -> Digest:
    """Return the digest of everything that `action` would copy from `tree`.

    Raises NotFound for a source that is missing, OSError for a file that can't be read.
    """
    total = hashlib.sha256()
    excludes = exclusion(action.exclude)
    for source in action.sources:
        includes = None
        is_named = False
        if action.parents:
            entries, pattern = find_starts(tree, source)
            includes = Matcher([pattern])
        elif action.is_literal:
            entries = [find_literal(tree, source)]
        else:
            entries = find_sources(tree, source)
            is_named = bool(split_pattern(clean_source(source))[1])
        hasher = _Hasher(tree, note, includes, excludes)
        for entry in entries:
            name = os.fsencode(entry.name) if is_named else b""
            total.update(_framed(name) + hasher.entry(entry))
        total.update(b"\0end\0")
    return Digest("sha256:" + total.hexdigest())


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


class _Hasher:
    def __init__(
        self,
        tree: SourceTree,
        note: Note | None,
        includes: Matcher | None = None,
        excludes: Matcher | None = None,
    ) -> None:
        self._tree = tree
        self._note = note
        self._includes = includes
        self._excludes = excludes

    def entry(self, entry: Entry) -> bytes:
        """Hash a source; of a folder only the contents, since its own metadata isn't copied."""
        if entry.is_directory:
            return self._contents(str(entry.path))
        return self._file(str(entry.path), entry.status)

    def _contents(self, folder: str) -> bytes:
        total = hashlib.sha256(b"contents\0")
        for found in select(self._tree, folder, self._includes, self._excludes):
            total.update(_framed(os.fsencode(found.inside)))
            total.update(self._file(found.path, found.status))
        return total.digest()

    def _file(self, path: str, status: os.stat_result) -> bytes:
        is_context = self._tree.is_context
        # Most files have no attributes, and asking for one that isn't there costs an exception.
        names = [] if is_context else os.listxattr(path, follow_symlinks=False)
        uid, gid = (0, 0) if is_context else (status.st_uid, status.st_gid)
        if names:
            uid, gid = self._tree.owner(path, status)
        mode = 0o777 if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)
        header = f"{stat.S_IFMT(status.st_mode):o} {mode:o} {uid} {gid}".encode()
        if stat.S_ISREG(status.st_mode):
            header += b" %d " % status.st_size + self._tree.file_digest(path, status)
        elif stat.S_ISLNK(status.st_mode):
            header += b" " + os.fsencode(self._tree.link(path, status))
        elif not stat.S_ISDIR(status.st_mode):
            header += b" %d" % status.st_rdev
        if names:
            header += _xattrs(path, names)
        if self._note is not None:
            self._note((path, header))
        return hashlib.sha256(header).digest()


def _xattrs(path: str, names: list[str]) -> bytes:
    out = b""
    for name in sorted(names):
        is_foreign = name.startswith(("system.", "trusted.", "user.overlay.", "user.polyarch."))
        if is_foreign or (name.startswith("security.") and name != "security.capability"):
            continue
        value = os.getxattr(path, name, follow_symlinks=False)
        out += _framed(os.fsencode(name)) + _framed(value)
    return out


def digest_of_path(tree: SourceTree, path: str, note: Note | None = None) -> Digest:
    """Return the digest of the file or folder at `path`, as a mount shows it.

    Raises NotFound if it is missing, OSError for a file that can't be read.
    """
    entry = find_path(tree, path)
    return Digest("sha256:" + hashlib.sha256(_Hasher(tree, note).entry(entry)).hexdigest())
