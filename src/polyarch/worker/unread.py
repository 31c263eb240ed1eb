"""Large files of other stages, which aren't read for the key of a copy.

The kernel copies a file in a third of the time that it takes to read and hash it, and mostly nothing comes
of the digest: only a build whose input came about in another way asks for it. So a large file is in
the digest by its size. If a later build comes across a record of what looks the same, its files are compared
with those that the recorded copy has made: in the result, which is there as long as the record is of
any use, whatever has become of the stage that they came from. Comparing ends at the first
difference, and takes half as long as hashing where there is none.

Smaller files are hashed, since that takes no longer than making them, and names what differs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from io import FileIO

from polyarch.look import Status
from polyarch.progress import check_cancelled
from polyarch.store.layerform import Opener, find, open_plain
from polyarch.why.seen import UNREAD
from polyarch.worker.tree import SMALL_FILE, hash_file

__all__ = ["Unread", "find_difference"]

# Two of them, and what the kernel copies them from, fit into a processor's own cache.
_CHUNK = 1 << 17


class Unread:
    """The large files of the tree at `root`: their paths in it, in the order in which they were met."""

    def __init__(self, root: str) -> None:
        self.paths: list[str] = []
        self.root = root

    def digest(self, path: str, status: Status) -> bytes:
        """See FileDigest; of a large file it says nothing."""
        if status.st_size <= SMALL_FILE:
            return hash_file(path, status)
        self.paths.append(path[len(self.root) + 1 :])
        return UNREAD


def find_difference(
    unread: Sequence[str],
    layers: Sequence[str],
    places: Sequence[str],
    layer: Sequence[str],
    open_file: Opener = open_plain,
) -> str | None:
    """Return the first of the files `unread` that isn't what lies at its place; None if all are.

    They lie in the tree that is merged from `layers`, topmost first; `places` are where a copy has put
    as many files of the same names and sizes, in the same order, in the tree that is merged from `layer`. Of
    two that came to one place the second is what lies there, and all that counts. Files are opened by `open_file`.
    Raises OSError.
    """
    for place, path in dict(zip(places, unread, strict=True)).items():
        source, copy = find(layers, path), find(layer, place)
        if not (source and copy and _is_equal(source, copy, open_file)):
            return path
    return None


def _is_equal(one: str, other: str, open_file: Opener) -> bool:
    if not stat.S_ISREG(os.lstat(other).st_mode):
        return False  # a later copy of the same step has put something else there
    with _open(one, open_file) as here, _open(other, open_file) as there:
        pieces = bytearray(_CHUNK), bytearray(_CHUNK)
        while length := here.readinto(pieces[0]):
            check_cancelled()
            if there.readinto(pieces[1]) != length:
                return False
            if pieces[0] != pieces[1] and pieces[0][:length] != pieces[1][:length]:
                return False
        return not there.read(1)


def _open(path: str, open_file: Opener) -> FileIO:
    return open(open_file(path), "rb", buffering=0)
