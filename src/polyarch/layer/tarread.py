"""Reading tar archives of any maker: ustar, PAX, GNU long names, GNU sparse files of all ages.

The stream is read once, from front to end, and never sought. After the end mark the rest is read, too,
as the digest of a layer is that of all its bytes, unless the reader is told to stop there. The padding
behind the last member may be missing, and the mark as well: all that was packed is there.

Archives come from anybody, so whatever they can ask for has a limit (`Limits`), and an error names the
entry and the byte where its header begins. Global PAX headers are passed over, as Go's reader and so
BuildKit and containerd do: a layer mustn't be one thing here and another thing there.

Published faults of this kind: CVE-2025-58183 and CVE-2022-2879 (Go: sparse maps and headers without a
limit), CVE-2019-20907 (Python: PAX records without an end).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, Protocol

from polyarch.errors import InvalidLayer
from polyarch.layer.tar import BLOCK, BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, FILE, Entry
from polyarch.layer.tarfields import (
    are_in_order,
    byte_sum,
    decimal,
    device_number,
    nanoseconds,
    number,
    owner_id,
    parse_records,
    size_of,
    sparse_numbers,
)
from polyarch.progress import check_cancelled
from polyarch.record import frozen

__all__ = ["LIMITS", "Limits", "Source", "TarReader", "is_archive"]

_CHUNK = 1 << 20
_SHOWN = 200
_KINDS = {"\0": FILE, "7": FILE, "S": FILE, "D": DIRECTORY}
_SPARSE = frozenset({"GNU.sparse.map", "GNU.sparse.major"})
_XATTR = "SCHILY.xattr."


@frozen
class Limits:
    """What an archive may ask for. Real layers stay far below: the largest have a million entries."""

    size: int = 256 << 30
    """Bytes, both of the archive and of all files that it unpacks to, holes included."""
    entries: int = 1 << 22
    depth: int = 400
    """Directories above an entry: what all that walks the result can bear."""
    name: int = 4095
    """Bytes of a name, and of what a link names: no system call takes more."""
    headers: int = 1 << 20
    """Bytes of the extended headers of one entry, as with Go; together 16 MiB and 1 KiB for each entry."""
    parts: int = 1 << 18
    """Parts of all sparse files together."""


LIMITS = Limits()
_HEADERS_AT_FIRST = 16 << 20
_HEADERS_OF_EACH = 1 << 10


class Source(Protocol):
    """Anything that gives bytes: up to `size` of them, none at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""


class _Pending:
    """What headers said that count for the next entry; `size` is in bytes of those headers.

    No record: one is made for each entry.
    """

    __slots__ = ("link", "name", "records", "size", "sparse_pairs")

    def __init__(self) -> None:
        self.name: str | None = None
        self.link: str | None = None
        self.records: dict[str, bytes] | None = None
        self.sparse_pairs: list[int] | None = None
        self.size = 0


class TarReader:
    """Iterate over it for the entries; `content` and `write_to` read what belongs to the last one."""

    def __init__(
        self, source: Source, *, limits: Limits = LIMITS, stop_at_mark: bool = False
    ) -> None:
        self._source = source
        self._limits = limits
        self._stops = stop_at_mark
        self._chunk = b""
        self._at = 0
        self._before = 0
        self._left = 0
        self._skip = 0
        self._holes: tuple[tuple[int, int], ...] | None = None
        self._name = ""
        self._previous = ""
        self._start = 0
        self._size = 0
        self._entries = 0
        self._headers = 0
        self._parts = 0
        self._told: InvalidLayer | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Give the entries in their order. Raises InvalidLayer for a damaged archive."""
        pending = _Pending()
        while (block := self._next_header()) is not None:
            entry = self._understood(block, pending)
            if entry is None:
                continue
            pending = _Pending()
            yield entry
            self._pass(self._left)
            self._up_to(self._skip)
            self._left = self._skip = 0
            self._previous, self._name = self._name, ""
        if pending.size:
            self._fail("the archive ends behind the headers that extend it")
        while not self._stops and self._fill():
            pass

    def content(self) -> Iterator[bytes]:
        """Give the stored bytes of the current entry in chunks; holes of sparse files are left out."""
        while self._left:
            data = self._some(self._left)
            self._left -= len(data)
            yield data

    @property
    def position(self) -> int:
        """The byte of the archive that is read next."""
        return self._before + self._at

    @property
    def stored(self) -> int:
        """Bytes of the current entry's content, as it is stored, that haven't been read yet."""
        return self._left

    def pass_content(self, size: int) -> None:
        """Read so many of the bytes that `stored` tells of, and leave them to whoever looks on."""
        self._pass(size)
        self._left -= size

    def write_to(self, descriptor: int, entry: Entry) -> None:
        """Write the content of the current entry to an empty file, with holes where they were."""
        if self._holes is None:
            for data in self.content():
                _write_all(descriptor, data)
            return
        for offset, size in self._holes:
            os.lseek(descriptor, offset, os.SEEK_SET)
            left = size
            while left:
                data = self._some(min(left, self._left)) if self._left else b""
                if not data:
                    self._fail("its sparse map doesn't fit its size")
                left -= len(data)
                self._left -= len(data)
                _write_all(descriptor, data)
        os.ftruncate(descriptor, entry.size)

    def _understood(self, block: bytes, pending: _Pending) -> Entry | None:
        """Return the entry of a header; None for one that only says something of the next."""
        kind = chr(block[156])
        try:
            if kind in "xgLK":
                self._read_extension(kind, size_of(number(block[124:136])), pending)
                return None
            return self._entry(block, kind, pending)
        except InvalidLayer as error:
            self._name = self._name or os.fsdecode(block[:100].partition(b"\0")[0])
            raise self._located(error) from error

    def _entry(self, block: bytes, kind: str, pending: _Pending) -> Entry:
        records = pending.records or {}
        entry = _extended(_basic_entry(block, kind), pending, records)
        self._name = entry.name
        # As Go has it, these never have content, whatever their size says.
        stored = 0 if kind in "123456" else size_of(entry.size)
        self._left, self._skip, self._holes = stored, -stored % BLOCK, None
        if kind == "S" or pending.sparse_pairs or not _SPARSE.isdisjoint(records):
            entry = self._sparse(entry, block, kind, pending)
        elif entry.size and entry.kind != FILE:
            entry = entry._replace(size=0)
        self._count(entry)
        return entry

    def _count(self, entry: Entry) -> None:
        """Raise InvalidLayer if an entry is beyond the limits."""
        limits = self._limits
        self._entries += 1
        self._size += entry.size
        if self._entries > limits.entries:
            self._fail(f"an archive may have {limits.entries} entries")
        if self._size > limits.size:
            self._fail(_TOO_LARGE.format(size=limits.size >> 30))
        if len(entry.name) > limits.name or len(entry.link) > limits.name:
            self._fail(f"a name may have {limits.name} bytes")
        if entry.name.count("/") > limits.depth:
            self._fail(f"it lies in more than {limits.depth} directories, one in another")

    def _sparse_map(self, records: Mapping[str, bytes], pending: _Pending) -> list[int]:
        """Read the map of PAX's three forms: offsets and lengths in turn."""
        if records.get("GNU.sparse.major") == b"1":
            return self._sparse_map_in_data()
        if "GNU.sparse.map" in records:
            text = records["GNU.sparse.map"]
            self._take_parts(text.count(b",") // 2)
            return [decimal(each) for each in text.split(b",")]
        numbers = list(pending.sparse_pairs or ())
        self._take_parts(len(numbers) // 2)
        return numbers

    def _sparse(self, entry: Entry, block: bytes, kind: str, pending: _Pending) -> Entry:
        self._name = entry.name
        records = pending.records or {}
        if kind == "S":
            numbers, size = self._old_sparse_map(block)
        else:
            told = records.get("GNU.sparse.realsize") or records.get("GNU.sparse.size") or b""
            size = decimal(told)
            numbers = self._sparse_map(records, pending)
            if name := records.get("GNU.sparse.name"):
                entry = entry._replace(name=os.fsdecode(name))
        pairs = tuple(zip(numbers[::2], numbers[1::2], strict=False))
        if not are_in_order(pairs, size):
            self._fail("its sparse map is out of order")
        self._holes = pairs
        return entry._replace(size=size_of(size), kind=FILE)

    def _take_parts(self, count: int) -> None:
        self._parts += count
        if self._parts > self._limits.parts:
            self._fail(f"sparse files of an archive may have {self._limits.parts} parts")

    def _old_sparse_map(self, block: bytes) -> tuple[list[int], int]:
        numbers = sparse_numbers(block[386:482])
        more = block[482]
        while more:
            extension = self._exactly(BLOCK)
            found = sparse_numbers(extension[:504])
            # One without any says nothing, but there could be any number of them.
            self._take_parts(max(1, len(found) // 2))
            numbers += found
            more = extension[504]
        return numbers, number(block[483:495])

    def _sparse_map_in_data(self) -> list[int]:
        """Read PAX sparse format 1.0: a count and pairs as decimal lines, filled up to a block."""
        blocks: list[bytes] = []
        lines, wanted = 0, 0
        while not wanted or lines < wanted:
            if self._left < BLOCK:
                self._fail("its sparse map has no end")
            block = self._exactly(BLOCK)
            self._left -= BLOCK
            blocks.append(block)
            lines += block.count(b"\n")
            if not wanted:
                count = decimal(block.partition(b"\n")[0])
                if count < 0:
                    self._fail("its sparse map can't be read")
                self._take_parts(count)
                wanted = 2 * count + 1
            if len(blocks) * BLOCK > self._limits.headers:
                self._fail("its sparse map is too long")
        return [decimal(line) for line in b"".join(blocks).split(b"\n")[1:wanted]]

    def _read_extension(self, kind: str, size: int, pending: _Pending) -> None:
        self._headers += BLOCK + size
        pending.size += BLOCK + size
        most = _HEADERS_AT_FIRST + _HEADERS_OF_EACH * self._entries
        if pending.size > self._limits.headers or self._headers > most:
            self._fail("its extended headers, or those of the archive, are too large")
        body = self._exactly(size)
        self._up_to(-size % BLOCK)
        if kind == "L":
            pending.name = os.fsdecode(body.partition(b"\0")[0])
        elif kind == "K":
            pending.link = os.fsdecode(body.partition(b"\0")[0])
        elif kind == "g":
            pending.size -= BLOCK + size
        else:
            pairs: list[int] = []
            pending.records = (pending.records or {}) | parse_records(body, pairs)
            pending.sparse_pairs = pairs or None

    def _next_header(self) -> bytes | None:
        self._start = self._before + self._at
        block = self._up_to(BLOCK)
        if not (block and block[0]) and not block.strip(b"\0"):
            # A single block of zeros isn't the mark; what follows one would be lost without a word.
            if len(block) == BLOCK and self._up_to(BLOCK).strip(b"\0"):
                raise self._located(InvalidLayer("a block of zeros stands among the entries"))
            return None
        if len(block) < BLOCK:
            raise self._located(InvalidLayer("the archive ends in the middle of a header"))
        if not is_archive(block):
            raise InvalidLayer(
                f"the archive is damaged: a header's checksum is wrong at byte {self._start}",
                hint=f"the entry before it was {self._previous!r}" if self._previous else "",
            )
        return block

    def _fill(self) -> bool:
        """Read the next chunk; tell whether there was one. Raises InvalidLayer for one too many."""
        check_cancelled()
        self._before += len(self._chunk)
        self._chunk, self._at = self._source.read(_CHUNK), 0
        if self._before > self._limits.size + self._limits.entries * BLOCK:
            self._fail(_TOO_LARGE.format(size=self._limits.size >> 30))
        return bool(self._chunk)

    def _some(self, limit: int) -> bytes:
        """Return between 1 and `limit` bytes."""
        if self._at == len(self._chunk) and not self._fill():
            self._fail("the archive ends in the middle of it")
        data = self._chunk[self._at : self._at + limit]
        self._at += len(data)
        return data

    def _up_to(self, size: int) -> bytes:
        data = self._chunk[self._at : self._at + size]
        self._at += len(data)
        while len(data) < size and self._fill():
            more = self._chunk[: size - len(data)]
            self._at = len(more)
            data += more
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._up_to(size)
        if len(data) < size:
            self._fail("the archive ends in the middle of it")
        return data

    def _pass(self, size: int) -> None:
        while size:
            size -= len(self._some(size))

    def _fail(self, reason: str) -> NoReturn:
        raise self._located(InvalidLayer(reason))

    def _located(self, error: InvalidLayer) -> InvalidLayer:
        """Return the error with the entry that it is about, if that has a name yet."""
        if error is not self._told:
            name = f" {self._name[:_SHOWN]!r}" if self._name else ""
            text = f"can't read the entry{name} at byte {self._start}: {error}"
            self._told = InvalidLayer(text, hint=error.hint)
        return self._told


_TOO_LARGE = "an archive may unpack to {size} GiB"


def _extended(entry: Entry, pending: _Pending, records: Mapping[str, bytes]) -> Entry:
    """Return the entry as the headers before it change it."""
    if pending.name is not None or pending.link is not None:
        entry = entry._replace(name=pending.name or entry.name, link=pending.link or entry.link)
    if records:
        entry = _with_records(entry, records)
    if entry.name.endswith("/"):
        # Before there was a type for directories, a slash said it.
        kind = DIRECTORY if entry.kind == FILE else entry.kind
        entry = entry._replace(name=entry.name.rstrip("/") or "/", kind=kind)
    return entry


def _basic_entry(block: bytes, kind: str) -> Entry:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    if kind == "5":
        name = name.rstrip(b"/") or b"/"
    is_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
    return Entry(
        name=os.fsdecode(name),
        kind=_KINDS.get(kind, kind),
        mode=number(block[100:108]) & 0o7777,
        uid=owner_id(number(block[108:116])),
        gid=owner_id(number(block[116:124])),
        size=number(block[124:136]),
        mtime_ns=number(block[136:148]) * 1_000_000_000,
        link=os.fsdecode(block[157:257].partition(b"\0")[0]) if block[157] else "",
        major=device_number(number(block[329:337]), 12) if is_device else 0,
        minor=device_number(number(block[337:345]), 20) if is_device else 0,
    )


def is_archive(block: bytes) -> bool:
    """Tell whether the first 512 bytes of something are a tar header: its checksum is right."""
    if len(block) < BLOCK:
        return False
    try:
        stated = number(block[148:156])
    except InvalidLayer:
        return False
    found = byte_sum(block[:BLOCK]) - byte_sum(block[148:156]) + 256
    return found == stated or _signed_sum(block) == stated


def _signed_sum(block: bytes) -> int:
    """Return the checksum as some old programs had it, with signed bytes."""
    rest = block[:148] + block[156:]
    return 256 + sum(byte - 256 if byte > 127 else byte for byte in rest)


_NUMBERS: Mapping[str, Callable[[bytes], tuple[str, int]]] = {
    "uid": lambda value: ("uid", owner_id(decimal(value))),
    "gid": lambda value: ("gid", owner_id(decimal(value))),
    "size": lambda value: ("size", decimal(value)),
    "mtime": lambda value: ("mtime_ns", nanoseconds(value)),
}


def _with_records(entry: Entry, records: Mapping[str, bytes]) -> Entry:
    """Return the entry as PAX records change it; an empty value takes nothing back here."""
    changes: dict[str, str | int] = {}
    xattrs = {}
    for key, value in records.items():
        if key.startswith(_XATTR):
            xattrs[key[len(_XATTR) :]] = value
        elif not value:
            continue
        elif key == "path":
            changes["name"] = os.fsdecode(value)
        elif key == "linkpath":
            changes["link"] = os.fsdecode(value)
        elif key in _NUMBERS:
            name, found = _NUMBERS[key](value)
            changes[name] = found
    return entry._replace(**changes, **({"xattrs": xattrs} if xattrs else {}))  # type: ignore[arg-type]


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])
