"""Tar archives: written so that equal input gives equal bytes, and read whoever wrote them.

Written is what Go's `archive/tar` writes for layers: plain ustar headers, and a PAX header before
those that need one (names over 100 bytes or outside ASCII, large numbers, extended attributes).
`TarWriter` never uses the ustar prefix field, except for `Entry.split`: whiteouts, which BuildKit leaves
to Go's choice of a format.

Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual,
"Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from polyarch.errors import StoreError
from polyarch.layer.tarfields import byte_sum
from polyarch.progress import check_cancelled

__all__ = [
    "BLOCK",
    "BLOCK_DEVICE",
    "CHARACTER_DEVICE",
    "DIRECTORY",
    "FIFO",
    "FILE",
    "HARD_LINK",
    "NO_XATTRS",
    "SYMLINK",
    "Entry",
    "Sink",
    "TarWriter",
    "header",
    "padding",
]

BLOCK = 512
FILE = "0"
HARD_LINK = "1"
SYMLINK = "2"
CHARACTER_DEVICE = "3"
BLOCK_DEVICE = "4"
DIRECTORY = "5"
FIFO = "6"

_CHUNK = 1 << 20
_SMALL = 1 << 16
_SECOND = 1_000_000_000
_ZEROS = bytes(BLOCK)
NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


class Sink(Protocol):
    """Anything that takes bytes, all of them at each call."""

    def write(self, data: bytes, /) -> object:
        """Take `data`."""


class Entry(NamedTuple):
    """One member of an archive; its fields are given by keyword.

    Names are POSIX, bytes outside UTF-8 as surrogate escapes. A directory's name has no `/` at its
    end here, whatever the archive says.
    """

    name: str
    kind: str = FILE
    mode: int = 0
    """Permission bits and setuid, setgid, sticky."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of content, holes included."""
    mtime_ns: int = 0
    """Nanoseconds since the epoch."""
    link: str = ""
    """The target of a symbolic link as it is, or the name of the entry that a hard link repeats."""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = NO_XATTRS
    split: bool = False
    """Whether a long name may be split over ustar's two fields, as Go does when not told a format."""


class TarWriter:
    """Writes an archive to a sink, which it doesn't close."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pending: list[bytes] = []
        self._pending_size = 0

    def add(self, entry: Entry, content: bytes = b"") -> None:
        """Append an entry with its whole content, whose length must be `entry.size`."""
        self.put(header(entry))
        if content:
            self.put(content + padding(len(content)))

    def add_file(self, entry: Entry, descriptor: int) -> None:
        """Append an entry with `entry.size` bytes that are read from the file descriptor.

        Raises StoreError when there are fewer: somebody shortened the file meanwhile.
        """
        if not entry.size:
            self.add(entry)
            return
        start, left = header(entry), entry.size
        while left:
            data = os.read(descriptor, min(left, _CHUNK))
            if not data:
                raise StoreError(
                    f"{entry.name!r} became shorter while it was read",
                    hint="something changes the files while they are packed; try again",
                )
            left -= len(data)
            # Small files are most of many archives, and one piece is handed on sooner than three.
            end = b"" if left else padding(entry.size)
            if len(data) <= _SMALL:
                self.put(start + data + end)
            else:
                for piece in (start, data, end):
                    self.put(piece)
            start = b""

    def end(self) -> None:
        """Write the end of the archive: two blocks of zeros and nothing more, as Go does."""
        self.put(_ZEROS + _ZEROS)
        self._flush()

    def put(self, data: bytes) -> None:
        """Append bytes that are part of an entry: its header, content and padding."""
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        check_cancelled()
        pending, self._pending, self._pending_size = self._pending, [], 0
        self._sink.write(pending[0] if len(pending) == 1 else b"".join(pending))


def padding(size: int) -> bytes:
    """Return what fills the last block of a content of `size` bytes."""
    return _ZEROS[: -size % BLOCK]


def _has_plain_numbers(entry: Entry, mtime: int) -> bool:
    """Whether the numbers of an entry fit into a header's octal digits."""
    return (
        0 <= mtime < 1 << 33
        and 0 <= entry.size < 1 << 33
        and 0 <= entry.uid < 1 << 21
        and 0 <= entry.gid < 1 << 21
    )


def header(entry: Entry) -> bytes:
    """Return the blocks that announce an entry: its header, after a PAX header if it needs one."""
    name = os.fsencode(entry.name)
    if entry.kind == DIRECTORY:
        name += b"/"
    link = os.fsencode(entry.link) if entry.link else b""
    mtime, fraction = divmod(entry.mtime_ns, _SECOND)
    has_plain_names = max(len(name), len(link)) <= 100 and name.isascii() and link.isascii()
    has_more = entry.xattrs or fraction
    if has_plain_names and not has_more and _has_plain_numbers(entry, mtime):
        if entry.kind == FILE and not (link or entry.major or entry.minor):
            return _plain(entry, name, mtime)
        return _ustar(entry, name, link, mtime)
    prefix, rest = _split(name) if entry.split else (b"", b"")
    if prefix:
        return _ustar(entry, rest, link, mtime, prefix)
    pax = _pax(name, _records(entry, name, link))
    return pax + _ustar(entry, _ascii(name), _ascii(link), mtime)


def _plain(entry: Entry, name: bytes, mtime: int) -> bytes:
    """Return the header of a file that fits into it: nearly all are, so nothing is looked at twice."""
    name = name.ljust(100, b"\0")
    head = _HEAD % (name, entry.mode, entry.uid, entry.gid, entry.size, mtime)
    return b"%b%06o\0 %b" % (head, byte_sum(head) + _PLAIN_SUM, _PLAIN)


def _ustar(entry: Entry, name: bytes, link: bytes, mtime: int, prefix: bytes = b"") -> bytes:
    head = _HEAD % (
        _field(name, 100),
        entry.mode,
        _octal(entry.uid, 21),
        _octal(entry.gid, 21),
        _octal(entry.size, 33),
        _octal(mtime, 33),
    )
    return _with_checksum(head, _tail(entry, link, prefix))


def _tail(entry: Entry, link: bytes, prefix: bytes) -> bytes:
    return b"%b%bustar\x0000%b%07o\0%07o\0%b" % (
        entry.kind.encode("ascii"),
        _field(link, 100),
        _NO_NAMES,
        _octal(entry.major, 21),
        _octal(entry.minor, 21),
        prefix.ljust(167, b"\0"),
    )


def _with_checksum(head: bytes, tail: bytes) -> bytes:
    """Put the checksum between the two parts of a header; its own field counts as eight blanks."""
    return b"%b%06o\0 %b" % (head, byte_sum(head) + byte_sum(tail) + _BLANKS, tail)


_HEAD = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0"
_BLANKS = 8 * ord(" ")
_NO_NAMES = bytes(64)


def _field(text: bytes, size: int) -> bytes:
    if len(text) <= size:
        return text.ljust(size, b"\0")
    # A cut that ends in a slash would make a directory of it, for readers that ignore PAX.
    return text[:size].rstrip(b"/").ljust(size, b"\0")


def _octal(number: int, bits: int) -> int:
    """Return `number` if that many bits hold it; else 0, as a PAX record says it then."""
    return number if 0 <= number < 1 << bits else 0


def _ascii(text: bytes) -> bytes:
    return text if text.isascii() else bytes(byte for byte in text if 0 < byte < 0x80)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Return ustar's prefix and name, split as Go does; nothing if it can't be."""
    if len(name) <= 100 or not name.isascii():
        return b"", b""
    at = name.rfind(b"/", 0, min(len(name) - name.endswith(b"/"), 156))
    rest = name[at + 1 :]
    return (name[:at], rest) if at > 0 and 0 < len(rest) <= 100 else (b"", b"")


def _records(entry: Entry, name: bytes, link: bytes) -> dict[bytes, bytes]:
    records = {b"SCHILY.xattr." + os.fsencode(key): value for key, value in entry.xattrs.items()}
    texts = {b"path": name, b"linkpath": link}
    records |= {key: text for key, text in texts.items() if len(text) > 100 or not text.isascii()}
    for key, number, bits in (
        (b"uid", entry.uid, 21),
        (b"gid", entry.gid, 21),
        (b"size", entry.size, 33),
        (b"mtime", entry.mtime_ns // _SECOND, 33),
    ):
        if not 0 <= number < 1 << bits:
            records[key] = b"%d" % number
    if entry.mtime_ns % _SECOND:
        records[b"mtime"] = _time(entry.mtime_ns)
    return records


def _time(nanoseconds: int) -> bytes:
    """Return seconds as PAX has them: decimal, no zeros at the end."""
    seconds, rest = divmod(abs(nanoseconds), _SECOND)
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{seconds}.{rest:09d}".rstrip("0").encode("ascii")


def _pax(name: bytes, records: Mapping[bytes, bytes]) -> bytes:
    """Return the blocks of a PAX header; its own name is the one that Go makes up."""
    body = b"".join([_record(key, records[key]) for key in sorted(records)])
    directory, _, base = name.rpartition(b"/")
    parts = [part for part in (directory, b"PaxHeaders.0", base) if part]
    own_name = _ascii(b"/".join(parts))[:100].rstrip(b"/")
    head = _HEAD % (_field(own_name, 100), 0, 0, 0, len(body), 0)
    tail = b"x%bustar\x0000%b" % (bytes(100), bytes(247))
    return _with_checksum(head, tail) + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    r"""Return `LENGTH KEY=VALUE\n`, where the length counts its own digits."""
    size = len(key) + len(value) + 3
    total = size + len(str(size))
    if len(str(total)) != len(str(size)):
        total = size + len(str(total))
    return b"%d %b=%b\n" % (total, key, value)


_PLAIN = _tail(Entry(name=""), b"", b"")
"""What ends the header of a regular file."""
_PLAIN_SUM = byte_sum(_PLAIN) + _BLANKS
