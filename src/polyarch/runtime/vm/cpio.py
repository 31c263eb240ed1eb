"""Archives in the form in which Linux takes its first root file system: cpio, "newc".

All is root's and of the epoch's begin, so that the same files give the same bytes. Source:
Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from polyarch.record import frozen

__all__ = ["Entry", "device", "directory", "file", "write_cpio"]

_TRAILER = "TRAILER!!!"


@frozen
class Entry:
    """A file of the archive: its path without a leading `/`, its type and permissions, and what it holds."""

    path: str
    mode: int
    content: bytes = b""
    number: int = 0
    """That of a device, as `os.makedev` gives it."""


def directory(path: str, mode: int = 0o755) -> Entry:
    """Return a directory; it comes before what is in it."""
    return Entry(path=path, mode=stat.S_IFDIR | mode)


def file(path: str, content: bytes, mode: int = 0o644) -> Entry:
    """Return a regular file."""
    return Entry(path=path, mode=stat.S_IFREG | mode, content=content)


def device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """Return a character device."""
    return Entry(path=path, mode=stat.S_IFCHR | mode, number=os.makedev(major, minor))


def write_cpio(entries: Iterable[Entry]) -> bytes:
    """Return an archive of `entries`, in their order."""
    archive = bytearray()
    for number, entry in enumerate(entries, start=1):
        archive += _member(entry, number)
    return bytes(archive + _member(Entry(path=_TRAILER, mode=0), 0))


def _member(entry: Entry, inode: int) -> bytes:
    name = entry.path.encode() + b"\0"
    fields = (
        *(inode, entry.mode, 0, 0, 2 if stat.S_ISDIR(entry.mode) else 1, 0, len(entry.content)),
        *(0, 0, os.major(entry.number), os.minor(entry.number), len(name), 0),
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
