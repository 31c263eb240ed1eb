"""What a directory of a build context holds: looked at once, and kept for the whole build.

An `os.stat_result` takes half a kilobyte, and those of 50,000 files would be most of a build's memory. So what
counts of a file is kept packed, in the 40 bytes by which the next build knows that the file is
unchanged, and taken apart again for whoever hashes or copies it. All of it belongs to 0:0.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from polyarch.look import Look, Status
from polyarch.store.statindex import NO_STAMP, STAMP

__all__ = ["Found", "Listing", "stamp_of"]


class Found(NamedTuple):
    """A name in a directory, and what it looks like."""

    name: str
    status: Status


_stamped = attrgetter(*Look._fields[:6])


def stamp_of(status: Status) -> bytes:
    """Return what the stat index knows a file by."""
    mode = status.st_mode
    try:
        # Of a directory it may change what isn't in the context; what is in it has stamps of its own.
        return STAMP.pack(*((0, 0, 0, 0, mode, 0) if stat.S_ISDIR(mode) else _stamped(status)))
    except struct.error:
        return NO_STAMP


class Listing:
    """The files of one directory in the order of their names; `device` is the file system that it is on.

    `stamps` holds those of all of them, one after the other; `directories` are the names of directories.
    """

    __slots__ = ("_device", "_odd", "directories", "names", "stamps")

    def __init__(self, names: Sequence[str], statuses: Sequence[Status], device: int) -> None:
        self.names = names
        self._device = device
        self._odd: dict[str, Look] = {}
        """What has more to it than is in its stamp."""
        self.directories: list[str] = []
        stamps = []
        for name, status in zip(names, statuses, strict=True):
            stamp = stamp_of(status)
            stamps.append(stamp)
            is_directory = stat.S_ISDIR(status.st_mode)
            if is_directory:
                self.directories.append(name)
            if is_directory or status.st_rdev or status.st_dev != device or stamp is NO_STAMP:
                rest = (status.st_dev, status.st_rdev, 0, 0)
                self._odd[name] = Look._make((*_stamped(status), *rest))
        self.stamps = b"".join(stamps)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Found]:
        odd, rest = self._odd, (self._device, 0, 0, 0)
        for name, row in zip(self.names, STAMP.iter_unpack(self.stamps), strict=True):
            yield Found(name, odd[name] if name in odd else Look._make(row + rest))

    def below(self) -> Iterator[Found]:
        """Give the directories."""
        for name in self.directories:
            yield Found(name, self._odd[name])
