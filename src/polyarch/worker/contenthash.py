"""Digests of what a copy reads: the half of a cache key that looks at files.

Two trees have the same digest if COPY makes the same files of them, times aside: a file that was only
touched is the same file. Names count below the source; the source's own name counts only where it
reaches the destination and the op doesn't hold it (several matches of a pattern), so that moving
content from one directory to another doesn't rebuild.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from polyarch.digest import Digest
from polyarch.graph.op import CopyAction
from polyarch.look import Status
from polyarch.progress import check_cancelled
from polyarch.record import frozen
from polyarch.text.ignore import Matcher, exclusion
from polyarch.why.seen import Files
from polyarch.worker.listing import Listing
from polyarch.worker.sources import find_all
from polyarch.worker.tree import (
    Contents,
    Entry,
    SourceTree,
    find_path,
    hash_link,
)
from polyarch.worker.walk import select

__all__ = ["Note", "digest_of_copy", "digest_of_path"]

Note = Callable[[Files], None]
"""Hears of files that a digest is made of: their paths on this machine, and what counts of each."""


def digest_of_copy(tree: SourceTree, action: CopyAction, note: Note | None = None) -> Digest:
    """Return the digest of everything that `action` would copy from `tree`.

    Raises NotFound for a source that is missing, OSError for a file that can't be read.
    """
    total = hashlib.sha256()
    excludes = exclusion(action.exclude)
    # A literal copy is of what no step has changed in its place: its own metadata never counted.
    is_itself = action.manner is not None and action.is_itself
    for source in action.sources:
        found = find_all(tree, action, source)
        hasher = _Hasher(tree, note, found.includes, excludes, is_itself=is_itself)
        for entry in found.entries:
            name = os.fsencode(entry.name) if found.is_named else b""
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
        *,
        is_itself: bool = False,
    ) -> None:
        self._is_itself = is_itself
        self._tree = tree
        self._note = note
        self._includes = includes
        self._excludes = excludes

    def entry(self, entry: Entry) -> bytes:
        """Hash a source; of a directory only the contents, unless it is copied as itself."""
        path = str(entry.path)
        if not entry.is_directory:
            header = self._header(path, entry.status)
            self._tell([(path, header)])
            return hashlib.sha256(header).digest()
        own = self._header(path, entry.status) if self._is_itself else b""
        if self._includes is None and self._excludes is None:
            return own + self._whole(path)
        return own + self._selected(path)

    def _tell(self, files: Files) -> None:
        if self._note is not None:
            self._note(files)

    def _whole(self, directory: str) -> bytes:
        """Hash all below a directory: each directory for itself, as a context knows most of them by that."""
        total = hashlib.sha256(b"contents\0")
        todo = [(directory, "")]
        while todo:
            check_cancelled()
            path, inside = todo.pop()
            contents = self._tree.contents
            if contents is not None:
                listing = self._tree.listing(path)
                digest = contents.of_directory(path, listing, _combine)
                self._tell(_ContextFiles(path=path, listing=listing, contents=contents))
                below: Sequence[str] = listing.directories
            else:
                digest, below = self._directory(path)
            total.update(_framed(os.fsencode(inside)) + digest)
            todo += [(f"{path}/{name}", f"{inside}{name}/") for name in reversed(below)]
        return total.digest()

    def _directory(self, path: str) -> tuple[bytes, list[str]]:
        """Hash what is in one directory; return the digest, and the directories in it."""
        names, headers, below = [], [], []
        for name, status in self._tree.entries(path):
            check_cancelled()
            names.append(name)
            headers.append(self._header(f"{path}/{name}", status))
            if stat.S_ISDIR(status.st_mode):
                below.append(name)
        self._tell([(f"{path}/{name}", each) for name, each in zip(names, headers, strict=True)])
        return _digest_of(names, headers), below

    def _selected(self, directory: str) -> bytes:
        """Hash what is wanted below a directory."""
        total = hashlib.sha256(b"contents\0")
        files = []
        for found in select(self._tree, directory, self._includes, self._excludes):
            header = self._header(found.path, found.status)
            files.append((found.path, header))
            total.update(_framed(os.fsencode(found.inside)) + _framed(header))
        self._tell(files)
        return total.digest()

    def _header(self, path: str, status: Status) -> bytes:
        """Return what counts of one file, all of it."""
        content = b""
        if stat.S_ISREG(status.st_mode):
            content = self._tree.file_digest(path, status)
        elif stat.S_ISLNK(status.st_mode):
            content = hash_link(self._tree.link(path, status))
        if self._tree.is_context:
            return _header(status, content, (0, 0))
        # Most files have no attributes, and asking for one that isn't there costs an exception.
        names = os.listxattr(path, follow_symlinks=False)
        if not names:
            return _header(status, content, (status.st_uid, status.st_gid))
        return _header(status, content, self._tree.owner(path, status)) + _xattrs(path, names)


@frozen
class _ContextFiles:
    """The files of a directory whose content is known: few builds want to hear of each."""

    path: str
    listing: Listing
    contents: Contents

    def __len__(self) -> int:
        return len(self.listing)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for name, status in self.listing:
            content = self.contents.find(self.path, name)
            yield f"{self.path}/{name}", _header(status, content, (0, 0))


def _combine(listing: Listing, contents: Sequence[bytes]) -> bytes:
    headers = [
        _header(status, content, (0, 0))
        for (_, status), content in zip(listing, contents, strict=True)
    ]
    return _digest_of(listing.names, headers)


def _digest_of(names: Sequence[str], headers: Sequence[bytes]) -> bytes:
    parts = [
        _framed(os.fsencode(name)) + _framed(header)
        for name, header in zip(names, headers, strict=True)
    ]
    return hashlib.sha256(b"".join(parts)).digest()


def _header(status: Status, content: bytes, owner: tuple[int, int]) -> bytes:
    kind = stat.S_IFMT(status.st_mode)
    mode = 0o777 if kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)
    head = b"%o %o %d %d" % (kind, mode, *owner)
    if kind == stat.S_IFREG:
        return b"%b %d %b" % (head, status.st_size, content)
    if kind == stat.S_IFLNK:
        return b"%b %b" % (head, content)
    return head if kind == stat.S_IFDIR else b"%b %d" % (head, status.st_rdev)


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
    """Return the digest of the file or directory at `path`, as a mount shows it.

    Raises NotFound if it is missing, OSError for a file that can't be read.
    """
    entry = find_path(tree, path)
    return Digest("sha256:" + hashlib.sha256(_Hasher(tree, note).entry(entry)).hexdigest())
