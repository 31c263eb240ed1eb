"""Reading tar archives of any maker: ustar, PAX, GNU long names, GNU sparse files of all ages.

The stream is read once, from front to end, and never sought. After the end mark the rest is read, too,
as the digest of a layer is that of all its bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol

from polyarch.errors import InvalidLayer
from polyarch.layer.tar import BLOCK, DIRECTORY, FILE, Entry

__all__ = ["Source", "TarReader"]

_CHUNK = 1 << 20
_MAX_HEADER = 16 << 20
_KINDS = {"\0": FILE, "7": FILE, "S": FILE, "D": DIRECTORY}
_SPARSE = frozenset({"GNU.sparse.map", "GNU.sparse.major"})
_XATTR = "SCHILY.xattr."


class Source(Protocol):
    """Anything that gives bytes: up to `size` of them, none at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""


@dataclass(slots=True)
class _Pending:
    """What headers said that count for the next entry."""

    name: str | None = None
    link: str | None = None
    records: dict[str, bytes] | None = None
    sparse_pairs: list[int] | None = None


class TarReader:
    """Iterate over it for the entries; `content` and `write_to` read what belongs to the last one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chunk = b""
        self._at = 0
        self._left = 0
        self._skip = 0
        self._globals: dict[str, bytes] = {}
        self._holes: tuple[tuple[int, int], ...] | None = None
        self._name = ""

    def __iter__(self) -> Iterator[Entry]:
        """Give the entries in their order. Raises InvalidLayer for a damaged archive."""
        pending = _Pending()
        while (block := self._next_header()) is not None:
            kind = chr(block[156])
            if kind in "xgLK":
                self._read_extension(kind, _number(block[124:136]), pending)
                continue
            entry = self._entry(block, kind, pending)
            pending = _Pending()
            self._name = entry.name
            yield entry
            self._pass(self._left + self._skip)
            self._left = self._skip = 0
        self._drain()

    def content(self) -> Iterator[bytes]:
        """Give the stored bytes of the current entry in chunks; holes of sparse files are left out."""
        while self._left:
            data = self._some(self._left)
            self._left -= len(data)
            yield data

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

    def _entry(self, block: bytes, kind: str, pending: _Pending) -> Entry:
        records = pending.records or {}
        if self._globals:
            records = self._globals | records
        entry = _extended(_basic_entry(block, kind), pending, records)
        # As Go has it, these never have content, whatever their size says.
        stored = 0 if kind in "123456" else entry.size
        if stored < 0:
            raise InvalidLayer(f"{entry.name!r} has a negative size")
        self._left, self._skip, self._holes = stored, -stored % BLOCK, None
        if kind == "S" or pending.sparse_pairs or not _SPARSE.isdisjoint(records):
            return self._sparse(entry, block, kind, pending, records)
        return replace(entry, size=0) if entry.size and entry.kind != FILE else entry

    def _sparse(
        self,
        entry: Entry,
        block: bytes,
        kind: str,
        pending: _Pending,
        records: Mapping[str, bytes],
    ) -> Entry:
        self._name = entry.name
        if kind == "S":
            numbers, size = self._old_sparse_map(block)
        else:
            try:
                size = int(records.get("GNU.sparse.realsize") or records["GNU.sparse.size"])
                if records.get("GNU.sparse.major") == b"1":
                    numbers = self._sparse_map_in_data()
                elif "GNU.sparse.map" in records:
                    numbers = [int(number) for number in records["GNU.sparse.map"].split(b",")]
                else:
                    numbers = list(pending.sparse_pairs or ())
            except (KeyError, ValueError):
                self._fail("its sparse map can't be read")
            if name := records.get("GNU.sparse.name"):
                entry = replace(entry, name=os.fsdecode(name))
        pairs = tuple(zip(numbers[::2], numbers[1::2], strict=False))
        end = 0
        for offset, length in pairs:
            if offset < end or length < 0 or offset + length > size:
                self._fail("its sparse map is out of order")
            end = offset + length
        self._holes = pairs
        return replace(entry, size=size, kind=FILE)

    def _old_sparse_map(self, block: bytes) -> tuple[list[int], int]:
        numbers = _sparse_numbers(block[386:482])
        more = block[482]
        while more:
            extension = self._exactly(BLOCK)
            numbers += _sparse_numbers(extension[:504])
            more = extension[504]
        return numbers, _number(block[483:495])

    def _sparse_map_in_data(self) -> list[int]:
        """Read PAX sparse format 1.0: a count and pairs as decimal lines, filled up to a block."""
        text = b""
        count: int | None = None
        while True:
            if self._left < BLOCK or len(text) > _MAX_HEADER:
                self._fail("its sparse map has no end")
            text += self._exactly(BLOCK)
            self._left -= BLOCK
            lines = text.split(b"\n")
            if count is None and len(lines) > 1:
                count = 2 * int(lines[0])
            if count is not None and len(lines) - 2 >= count:
                return [int(line) for line in lines[1 : count + 1]]

    def _read_extension(self, kind: str, size: int, pending: _Pending) -> None:
        if not 0 <= size <= _MAX_HEADER:
            raise InvalidLayer(f"an extended header of {size} bytes is too large")
        body = self._exactly(size)
        self._pass(-size % BLOCK)
        if kind == "L":
            pending.name = os.fsdecode(body.partition(b"\0")[0])
        elif kind == "K":
            pending.link = os.fsdecode(body.partition(b"\0")[0])
        elif kind == "g":
            self._globals |= _parse_records(body, [])
        else:
            pairs: list[int] = []
            pending.records = (pending.records or {}) | _parse_records(body, pairs)
            pending.sparse_pairs = pairs or None

    def _next_header(self) -> bytes | None:
        block = self._up_to(BLOCK)
        if not block or block == _ZERO_BLOCK:
            return None
        if len(block) < BLOCK:
            raise InvalidLayer("the archive ends in the middle of a header")
        stated = _number(block[148:156])
        if sum(block) - sum(block[148:156]) + 256 != stated and _signed_sum(block) != stated:
            raise InvalidLayer(
                "the archive is damaged: a header's checksum is wrong",
                hint=f"the entry before it was {self._name!r}" if self._name else "",
            )
        return block

    def _some(self, limit: int) -> bytes:
        """Return between 1 and `limit` bytes."""
        if self._at == len(self._chunk):
            self._chunk, self._at = self._source.read(_CHUNK), 0
            if not self._chunk:
                self._fail("the archive ends in the middle of it")
        data = self._chunk[self._at : self._at + limit]
        self._at += len(data)
        return data

    def _up_to(self, size: int) -> bytes:
        data = self._chunk[self._at : self._at + size]
        self._at += len(data)
        while len(data) < size:
            self._chunk, self._at = self._source.read(_CHUNK), 0
            if not self._chunk:
                return data
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

    def _drain(self) -> None:
        while self._source.read(_CHUNK):
            pass

    def _fail(self, reason: str) -> NoReturn:
        raise InvalidLayer(f"can't read the entry {self._name!r}: {reason}")


_ZERO_BLOCK = bytes(BLOCK)


def _extended(entry: Entry, pending: _Pending, records: Mapping[str, bytes]) -> Entry:
    """Return the entry as the headers before it change it."""
    if pending.name is not None or pending.link is not None:
        entry = replace(entry, name=pending.name or entry.name, link=pending.link or entry.link)
    if records:
        try:
            entry = _with_records(entry, records)
        except ValueError as error:
            raise InvalidLayer(f"bad PAX record for {entry.name!r}: {error}") from error
    if entry.name.endswith("/"):
        # Before there was a type for directories, a slash said it.
        kind = DIRECTORY if entry.kind == FILE else entry.kind
        entry = replace(entry, name=entry.name.rstrip("/") or "/", kind=kind)
    return entry


def _basic_entry(block: bytes, kind: str) -> Entry:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    if kind == "5":
        name = name.rstrip(b"/") or b"/"
    return Entry(
        name=os.fsdecode(name),
        kind=_KINDS.get(kind, kind),
        mode=_number(block[100:108]) & 0o7777,
        uid=_number(block[108:116]),
        gid=_number(block[116:124]),
        size=_number(block[124:136]),
        mtime_ns=_number(block[136:148]) * 1_000_000_000,
        link=os.fsdecode(block[157:257].partition(b"\0")[0]) if block[157] else "",
        major=_number(block[329:337]) if kind in "34" else 0,
        minor=_number(block[337:345]) if kind in "34" else 0,
    )


def _number(text: bytes) -> int:
    """Read a header's number: octal digits, or GNU's base 256 for what is too large for them."""
    if text[0] & 0x80:
        number = int.from_bytes(text, "big")
        bits = 8 * len(text)
        return number - (1 << bits) if text[0] == 0xFF else number - (1 << (bits - 1))
    digits = text.partition(b"\0")[0].strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError as error:
        raise InvalidLayer(f"{digits!r} in a tar header is no number") from error


def _signed_sum(block: bytes) -> int:
    """Return the checksum as some old programs had it, with signed bytes."""
    rest = block[:148] + block[156:]
    return 256 + sum(byte - 256 if byte > 127 else byte for byte in rest)


def _parse_records(body: bytes, sparse_pairs: list[int]) -> dict[str, bytes]:
    """Read PAX records; the pairs of sparse format 0.0, whose keys repeat, go to `sparse_pairs`."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        blank = body.find(b" ", at, at + 20)
        try:
            size = int(body[at:blank]) if blank > 0 else 0
        except ValueError:
            size = 0
        record = body[blank + 1 : at + size]
        key, equals, value = record.partition(b"=")
        if size <= 0 or not equals or not value.endswith(b"\n") or at + size > len(body):
            if not body[at:].strip(b"\0"):
                break
            raise InvalidLayer("the archive is damaged: a PAX record can't be read")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse_pairs.append(int(value))
        else:
            records[os.fsdecode(key)] = value[:-1]
        at += size
    return records


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
        elif key in ("uid", "gid", "size"):
            changes[key] = int(value)
        elif key == "mtime":
            changes["mtime_ns"] = _nanoseconds(value.decode("ascii"))
    return replace(entry, **changes, **({"xattrs": xattrs} if xattrs else {}))  # type: ignore[arg-type]


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.partition(".")
    rest = int(fraction[:9].ljust(9, "0")) if fraction else 0
    return int(seconds) * 1_000_000_000 + (-rest if seconds.startswith("-") else rest)


def _sparse_numbers(text: bytes) -> list[int]:
    numbers = []
    for at in range(0, len(text) - 23, 24):
        if not text[at]:
            break
        numbers += [_number(text[at : at + 12]), _number(text[at + 12 : at + 24])]
    return numbers


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])
