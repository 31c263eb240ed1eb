"""Layers compressed and decompressed: plain, gzip and zstd; bzip2 and xz are read, too.

Writing gives the digest, the diff ID and both sizes in one pass. gzip is made as pigz makes it: chunks
of a fixed size, each with the 32 KiB before it as its dictionary, compressed side by side and joined
to one member. So the bytes depend on the level and the library, never on the number of CPUs.

Which library: with a level that was asked for, always the standard library's zlib, so that the digest
can be had again elsewhere. Without one, speed counts: isal if it is installed (it is where it has wheels),
else zlib at level 4. Measured on 100 MB of programs, two cores: isal 2 0.12 s and 36.2 % of the size,
zlib 4 0.79 s and 32.9 %, zlib 6 1.82 s and 31.9 %, zstd 3 0.30 s and 30.5 %. zstd always runs with
workers, as its output is then the same for any number of them.

Sources: RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Protocol, Self

from polyarch.digest import DiffID, Digest
from polyarch.errors import InputError, InvalidLayer
from polyarch.layer.hashing import HashingSink
from polyarch.layer.kinds import Compression
from polyarch.layer.pipes import InOrder, ReadAhead
from polyarch.layer.tar import Sink
from polyarch.layer.tarread import Source

__all__ = ["Compressed", "Compression", "compress", "decompressed", "detect"]

_HEADER = bytes.fromhex("1f8b08000000000000ff")
_CHUNK = 1 << 19
_WINDOW = 1 << 15
_READ = 1 << 18
_MOST = 1 << 22
_DEFAULT_ZLIB_LEVEL = 4
_DEFAULT_ISAL_LEVEL = 2
_DEFAULT_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """What was written: both names of a layer, and both sizes in bytes."""

    digest: Digest
    diff_id: DiffID
    size: int
    uncompressed_size: int


class _Filter(AbstractContextManager["_Filter"], Protocol):
    def write(self, data: bytes, /) -> object: ...
    def finish(self) -> None: ...


def compress(
    produce: Callable[[Sink], object],
    sink: Sink,
    compression: Compression,
    level: int | None = None,
) -> Compressed:
    """Let `produce` write a tar into a sink of ours, and hand its compressed bytes on to `sink`.

    `level` is 0 to 9 for gzip, 0 to 22 for zstd, and counts for nothing else; None is the default.
    Raises InputError for a level or kind that can't be, and what `produce` and `sink` raise.
    """
    with ExitStack() as stack:
        blob = stack.enter_context(HashingSink(sink))
        if compression is Compression.UNCOMPRESSED:
            produce(blob)
            return Compressed(
                digest=blob.digest,
                diff_id=DiffID(blob.digest),
                size=blob.size,
                uncompressed_size=blob.size,
            )
        compressor = stack.enter_context(_compressor(compression, level, blob))
        tar = stack.enter_context(HashingSink(compressor))
        produce(tar)
        compressor.finish()
        return Compressed(
            digest=blob.digest,
            diff_id=DiffID(tar.digest),
            size=blob.size,
            uncompressed_size=tar.size,
        )


def _compressor(compression: Compression, level: int | None, sink: Sink) -> _Filter:
    most = {Compression.GZIP: 9, Compression.ZSTD: 22}.get(compression)
    if most is None:
        raise InputError(
            f"layers can't be written as {compression}", hint="use gzip, zstd or uncompressed"
        )
    if level is not None and not 0 <= level <= most:
        raise InputError(
            f"compression level {level} is out of range for {compression}",
            hint=f"use a number from 0 to {most}",
        )
    return _Gzip(sink, level) if compression is Compression.GZIP else _Zstd(sink, level)


class _Gzip:
    """Compresses to one gzip member, chunk by chunk, in several threads."""

    def __init__(self, sink: Sink, level: int | None) -> None:
        isal = _isal() if level is None else None
        default = _DEFAULT_ZLIB_LEVEL if isal is None else _DEFAULT_ISAL_LEVEL
        self._library = zlib if isal is None else isal
        self._level = default if level is None else level
        self._sink = sink
        self._work = InOrder(sink.write)
        self._parts: list[bytes] = []
        self._waiting = 0
        self._window = b""
        self._checksum = 0
        self._size = 0
        sink.write(_HEADER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._work.__exit__(None, None, None)

    def write(self, data: bytes, /) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._size += len(data)
        self._parts.append(data)
        self._waiting += len(data)
        # One byte more than a chunk must be there, as the last chunk is ended in another way.
        if self._waiting > _CHUNK:
            self._cut()

    def _cut(self) -> None:
        data = b"".join(self._parts)
        end = (len(data) - 1) // _CHUNK * _CHUNK
        for start in range(0, end, _CHUNK):
            chunk, window = data[start : start + _CHUNK], self._window
            self._work.add(partial(self._deflate, chunk, window, last=False))
            self._window = chunk[-_WINDOW:]
        self._parts = [data[end:]]
        self._waiting = len(data) - end

    def finish(self) -> None:
        data = b"".join(self._parts)
        self._work.finish()
        self._sink.write(self._deflate(data, self._window, last=True))
        size = self._size & 0xFFFFFFFF
        self._sink.write(self._checksum.to_bytes(4, "little") + size.to_bytes(4, "little"))

    def _deflate(self, data: bytes, window: bytes, *, last: bool) -> bytes:
        library = self._library
        arguments = (self._level, library.DEFLATED, -zlib.MAX_WBITS)
        compressor = (
            library.compressobj(*arguments, zdict=window)
            if window
            else library.compressobj(*arguments)
        )
        end = library.Z_FINISH if last else library.Z_SYNC_FLUSH
        result: bytes = compressor.compress(data) + compressor.flush(end)
        return result


class _Zstd:
    """Compresses to one zstd frame; the library has the threads."""

    def __init__(self, sink: Sink, level: int | None) -> None:
        zstd = _zstd()
        self._sink = sink
        level = _DEFAULT_ZSTD_LEVEL if level is None else level
        workers = min(8, os.cpu_count() or 1)
        parameter = zstd.CompressionParameter
        options = {
            parameter.compression_level: level,
            parameter.checksum_flag: 1,
            parameter.nb_workers: workers,
        }
        self._compressor = zstd.ZstdCompressor(options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def write(self, data: bytes, /) -> None:
        if compressed := self._compressor.compress(data):
            self._sink.write(compressed)

    def finish(self) -> None:
        self._sink.write(self._compressor.flush())


def detect(start: bytes) -> Compression:
    """Return how a stream is compressed, by its first bytes (6 are enough)."""
    if start.startswith(b"\x1f\x8b\x08"):
        return Compression.GZIP
    if start.startswith(b"\x28\xb5\x2f\xfd") or start[1:4] == b"\x2a\x4d\x18":
        return Compression.ZSTD
    if start.startswith(b"BZh"):
        return Compression.BZIP2
    if start.startswith(b"\xfd7zXZ\0"):
        return Compression.XZ
    return Compression.UNCOMPRESSED


@contextmanager
def decompressed(source: Source) -> Iterator[Source]:
    """Give a stream of what `source` holds, decompressed, however it was compressed.

    Decompressing runs in a thread of its own, which ends with the block. Reading raises InvalidLayer
    for damaged data.
    """
    first = source.read(_READ)
    compression = detect(first)
    with ReadAhead(_decompressing(compression, _chunks(first, source))) as stream:
        yield stream


def _chunks(first: bytes, source: Source) -> Iterator[bytes]:
    data = first
    while data:
        yield data
        data = source.read(_READ)


def _decompressing(compression: Compression, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if compression is Compression.UNCOMPRESSED:
        return chunks
    if compression is Compression.GZIP:
        library = _isal() or zlib
        return _guarded(_inflated(chunks, library), compression, (zlib.error, _error_of(library)))
    if compression is Compression.ZSTD:
        zstd = _zstd()
        error: type[Exception] = zstd.ZstdError
        return _guarded(_streams(chunks, zstd.ZstdDecompressor), compression, (error,))
    # Rare enough (ADD of an archive) that start-up shouldn't pay for them.
    if compression is Compression.BZIP2:
        import bz2  # noqa: PLC0415

        return _guarded(_streams(chunks, bz2.BZ2Decompressor), compression, (OSError, ValueError))
    import lzma  # noqa: PLC0415

    return _guarded(_streams(chunks, lzma.LZMADecompressor), compression, (lzma.LZMAError,))


def _guarded(
    chunks: Iterator[bytes], compression: Compression, errors: tuple[type[Exception], ...]
) -> Iterator[bytes]:
    caught: tuple[type[Exception], ...] = (*errors, EOFError)
    try:
        yield from chunks
    except caught as error:
        raise InvalidLayer(
            f"the {compression} data is damaged: {error}", hint="fetch or make the archive again"
        ) from error


def _inflated(chunks: Iterator[bytes], library: ModuleType) -> Iterator[bytes]:
    """Decompress the members of a gzip stream; zeros after the last one are padding."""
    inflater = library.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data:
            if inflater.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                inflater = library.decompressobj(wbits=31)
            yield inflater.decompress(data, _MOST)
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    while not inflater.eof:
        # What is left inside the library after the last input.
        rest = inflater.decompress(inflater.unconsumed_tail, _MOST)
        if not rest:
            raise EOFError("it is cut short")
        yield rest


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _streams(chunks: Iterator[bytes], make: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Decompress one stream after another; zeros after the last one are padding."""
    decompressor = make()
    for chunk in chunks:
        data = chunk
        while data or not (decompressor.needs_input or decompressor.eof):
            if decompressor.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                decompressor = make()
            yield decompressor.decompress(data, _MOST)
            data = decompressor.unused_data if decompressor.eof else b""
    if not decompressor.eof:
        raise EOFError("it is cut short")


def _isal() -> ModuleType | None:
    """Return isal's zlib if it is installed; looked for when needed, as start-up shouldn't pay."""
    try:
        from isal import isal_zlib  # noqa: PLC0415
    except ImportError:
        return None
    library: ModuleType = isal_zlib
    return library


def _error_of(library: ModuleType) -> type[Exception]:
    error: type[Exception] = library.error
    return error


def _zstd() -> ModuleType:
    """Return the zstd library: the standard one from Python 3.14 on, else its backport."""
    import importlib  # noqa: PLC0415 - see _isal

    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return importlib.import_module("backports.zstd")
