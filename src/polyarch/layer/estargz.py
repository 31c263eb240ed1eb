"""eStargz: gzip from which single files can be read, with a table of contents and its place at the end.

    member        headers up to the first file's content
    member...     4 MiB of a file's content at most, and what follows it up to the next content
    member        a tar of its own: `stargz.index.json`, the table of contents (TOC)
    member        nothing, but in its header where the TOC begins

It is read as any gzip is. The archive stays as it was, as in BuildKit, which adds no landmarks of files to be fetched
first: those would be files more in the image. But the TOC is a part of what is decompressed, and so of the
diff ID: this one isn't that of the same files in another form.

Members know nothing of one another, so they are compressed side by side, and the bytes depend on the level and the
library alone.

Source: containerd's stargz-snapshotter, docs/estargz.md; what is in an entry as BuildKit has it
(`AppendTarLossLess`).
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Self

from polyarch.digest import Digest, sha256
from polyarch.errors import InvalidLayer
from polyarch.golang.json import indented
from polyarch.golang.time import time_of
from polyarch.layer.gzipped import deflated
from polyarch.layer.pipes import Handover, InOrder
from polyarch.layer.tar import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    Entry,
    Sink,
    TarWriter,
)
from polyarch.layer.tarread import Source, TarReader

__all__ = ["Estargz"]

_TOC_NAME = "stargz.index.json"
_CHUNK = 4 << 20
_BATCH = 1 << 19
"""Bytes of members that go to a thread at once."""
_SECOND = 1_000_000_000
_HEADER = bytes.fromhex("1f8b08000000000000ff")
_TYPES = {
    FILE: "reg",
    DIRECTORY: "dir",
    SYMLINK: "symlink",
    HARD_LINK: "hardlink",
    CHARACTER_DEVICE: "char",
    BLOCK_DEVICE: "block",
    FIFO: "fifo",
}

_TocEntry = dict[str, object]


class _Collected:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes, /) -> None:
        self.data += data


class _Raw:
    """Hands a stream on, and keeps its bytes until they are taken: as they are, headers and all."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept = bytearray()
        self._start = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._kept += data
        return data

    def take(self, end: int | None = None) -> bytes:
        """Return what comes up to a byte of the stream, or all that is there."""
        size = len(self._kept) if end is None else end - self._start
        data = bytes(self._kept[:size])
        del self._kept[:size]
        self._start += size
        return data


class _Member:
    """A gzip member to be: `content` bytes of a file, and whatever else. `entry` tells of the content."""

    __slots__ = ("content", "entry", "parts")

    def __init__(self, entry: _TocEntry | None, part: bytes) -> None:
        self.entry = entry
        self.parts = [part]
        self.content = len(part) if entry is not None else 0


class _Batch:
    __slots__ = ("members", "size", "sizes")

    def __init__(self) -> None:
        self.members: list[_Member] = []
        self.size = 0
        self.sizes: list[int] = []
        """Of the members when they are compressed."""


class Estargz:
    """Compresses a tar archive that is written to it, in several threads.

    `deflate` makes a gzip member of bytes. After `finish` there are `tail`, which is decompressed behind the archive,
    and `toc_digest`.
    """

    def __init__(self, sink: Sink, library: ModuleType, level: int) -> None:
        self.tail = b""
        self.toc_digest = Digest("")
        self._sink = sink
        self._deflate = partial(_member, library, level)
        self._size = 0
        self._toc: list[_TocEntry] = []
        self._batch = _Batch()
        self._under_way: deque[_Batch] = deque()
        self._work = InOrder(self._emit)
        self._reading = Handover(self._read, "estargz")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reading.__exit__(None, None, None)
        self._work.__exit__(None, None, None)

    def write(self, data: bytes, /) -> None:
        """Take bytes of the archive. Raises InvalidLayer."""
        self._reading.write(data)

    def finish(self) -> None:
        """Write what is left, the TOC and where it is. Raises InvalidLayer."""
        self._reading.finish()
        self._send()
        self._work.finish()
        toc = _toc_json(self._toc)
        tar = _Collected()
        writer = TarWriter(tar)
        writer.add(Entry(name=_TOC_NAME, size=len(toc)), toc)
        writer.end()
        self.tail, self.toc_digest = bytes(tar.data), sha256(toc)
        self._sink.write(self._deflate(self.tail) + _footer(self._size))

    # --- in the thread that reads the archive ---

    def _read(self, source: Source) -> None:
        raw = _Raw(source)
        reader = TarReader(raw)
        self._add(_Member(None, b""))
        for entry in reader:
            self._append(raw.take(reader.position))
            self._entry(entry, reader, raw)
        self._append(raw.take())

    def _entry(self, entry: Entry, reader: TarReader, raw: _Raw) -> None:
        told = _told(entry)
        self._toc.append(told)
        if entry.kind != FILE:
            return
        whole = hashlib.sha256(usedforsecurity=False)
        if not reader.stored:
            told["digest"] = f"sha256:{whole.hexdigest()}"
        elif reader.stored != entry.size:
            raise InvalidLayer(
                f"{entry.name!r} is a sparse file, which eStargz can't hold",
                hint="use another compression",
            )
        elif entry.size <= _CHUNK:
            # Its digest is that of its only chunk, which a thread makes.
            told["digest"] = ""
            self._chunk(told, _taken(reader, raw, entry.size))
        else:
            self._chunks(told, entry, reader, raw)

    def _chunks(self, told: _TocEntry, entry: Entry, reader: TarReader, raw: _Raw) -> None:
        whole = hashlib.sha256(usedforsecurity=False)
        first = told
        at = 0
        while at < entry.size:
            if at:
                told = {"name": entry.name, "type": "chunk", "chunkOffset": at}
                self._toc.append(told)
            data = _taken(reader, raw, min(_CHUNK, entry.size - at))
            whole.update(data)
            self._chunk(told, data)
            at += len(data)
        first["digest"] = f"sha256:{whole.hexdigest()}"

    def _chunk(self, told: _TocEntry, data: bytes) -> None:
        if len(data) == _CHUNK:
            told["chunkSize"] = _CHUNK
        self._add(_Member(told, data))

    def _add(self, member: _Member) -> None:
        if self._batch.size >= _BATCH:
            self._send()
        self._batch.members.append(member)
        self._batch.size += len(member.parts[0])

    def _append(self, data: bytes) -> None:
        """Add bytes to the latest member: one that was sent must have got all of its own."""
        self._batch.members[-1].parts.append(data)
        self._batch.size += len(data)

    def _send(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._under_way.append(batch)
        self._work.add(partial(_compressed, batch, self._deflate))

    def _emit(self, data: bytes) -> None:
        batch = self._under_way.popleft()
        for member, size in zip(batch.members, batch.sizes, strict=True):
            if member.entry is not None:
                member.entry["offset"] = self._size
            self._size += size
        batch.members.clear()
        self._sink.write(data)


def _taken(reader: TarReader, raw: _Raw, size: int) -> bytes:
    """Read so many bytes of the entry's content."""
    end = reader.position + size
    reader.pass_content(size)
    return raw.take(end)


def _compressed(batch: _Batch, deflate: Callable[[bytes], bytes]) -> bytes:
    made = []
    for member in batch.members:
        entry = member.entry
        if entry is not None:
            digest = sha256(member.parts[0])
            entry["chunkDigest"] = digest
            if entry.get("digest") == "":
                entry["digest"] = digest
        data = b"".join(member.parts)
        packed = deflate(data) if data else b""
        made.append(packed)
        batch.sizes.append(len(packed))
        member.parts.clear()
    return b"".join(made)


def _member(library: ModuleType, level: int, data: bytes) -> bytes:
    body = deflated(library, level, data)
    checksum, size = library.crc32(data), len(data) & 0xFFFFFFFF
    packed: bytes = _HEADER + body + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")
    return packed


def _footer(toc: int) -> bytes:
    """Return an empty member that says in its header at which byte the TOC begins: 51 bytes."""
    field = b"%016xSTARGZ" % toc
    extra = b"SG" + len(field).to_bytes(2, "little") + field
    header = bytes.fromhex("1f8b08040000000000ff") + len(extra).to_bytes(2, "little") + extra
    return header + bytes.fromhex("010000ffff") + bytes(8)


def _told(entry: Entry) -> _TocEntry:
    kind = _TYPES.get(entry.kind)
    if kind is None or entry.name.strip("./") == _TOC_NAME:
        raise InvalidLayer(
            f"eStargz can't hold {entry.name!r}", hint="use another compression for this image"
        )
    seconds = entry.mtime_ns // _SECOND
    is_device = entry.kind in {CHARACTER_DEVICE, BLOCK_DEVICE}
    return {
        "name": entry.name + ("/" if entry.kind == DIRECTORY else ""),
        "type": kind,
        "size": entry.size if entry.kind == FILE else 0,
        "modtime": time_of(seconds).rfc3339() if seconds else "",
        "linkName": entry.link if entry.kind in {SYMLINK, HARD_LINK} else "",
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "devMajor": entry.major if is_device else 0,
        "devMinor": entry.minor if is_device else 0,
        "xattrs": {
            name: base64.b64encode(value).decode() for name, value in sorted(entry.xattrs.items())
        },
    }


_ORDER = (
    *("name", "type", "size", "modtime", "linkName", "mode", "uid", "gid", "offset", "devMajor"),
    *("devMinor", "xattrs", "digest", "chunkOffset", "chunkSize", "chunkDigest"),
)


def _toc_json(entries: list[_TocEntry]) -> bytes:
    """Write the TOC as Go does: fields in their order, those that hold nothing left out."""
    written = [{key: value for key in _ORDER if (value := entry.get(key))} for entry in entries]
    return indented({"version": 1, "entries": written}, by="\t")
