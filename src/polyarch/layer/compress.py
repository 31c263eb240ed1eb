"""Layers compressed and decompressed: plain, gzip, eStargz and zstd; bzip2 and xz are read, too.

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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Protocol, Self

from polyarch.digest import DiffID, Digest
from polyarch.errors import InvalidLayer
from polyarch.layer.estargz import Estargz
from polyarch.layer.frames import zstd_library
from polyarch.layer.gzipped import Gzip
from polyarch.layer.hashing import HashingSink
from polyarch.layer.kinds import TOC_DIGEST, UNCOMPRESSED_SIZE, Compression, check_level
from polyarch.layer.pipes import ReadAhead
from polyarch.layer.tar import Sink
from polyarch.layer.tarread import Source
from polyarch.progress import current_check
from polyarch.record import field, frozen

__all__ = [
    "Compressed",
    "Compression",
    "HashedSink",
    "compress",
    "compressing",
    "decompressed",
    "detect",
]

_READ = 1 << 20
_MOST = 1 << 20
"""Bytes of a piece, compressed or not: smaller ones are handed from thread to thread more often."""
_FIRST = 1 << 9
_SMALL = 1 << 14
_MAGIC = 6
_MOST_MEMORY = 256 << 20
"""Bytes that xz may take; its highest level needs 65 MiB. zstd has a limit of its own, 128 MiB."""
_DEFAULT_ZLIB_LEVEL = 4
_DEFAULT_ISAL_LEVEL = 2
_DEFAULT_ZSTD_LEVEL = 3


@frozen
class Compressed:
    """What was written: both names of a layer, and both sizes in bytes.

    `archive` is the digest of the archive by itself, which is the diff ID unless the form adds something to it;
    `annotations` are those that the form wants of the layer's descriptor.
    """

    digest: Digest
    diff_id: DiffID
    archive: DiffID
    size: int
    uncompressed_size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


class HashedSink(Sink, Protocol):
    """A sink that knows what it was given so far, as `polyarch.store.blobs.BlobWriter` does."""

    @property
    def digest(self) -> Digest:
        """The sha256 digest of it."""

    @property
    def size(self) -> int:
        """Its number of bytes."""


class _Filter(AbstractContextManager["_Filter"], Protocol):
    tail: bytes
    """What is decompressed behind the archive; known in the end."""

    def write(self, data: bytes, /) -> object: ...
    def finish(self) -> None: ...


def compress(
    produce: Callable[[Sink], object],
    sink: HashedSink,
    compression: Compression,
    level: int | None = None,
) -> Compressed:
    """Let `produce` write a tar into a sink of ours, and hand its compressed bytes on to `sink`.

    Nothing is hashed twice: `sink` knows the digest of what it has got.
    `level` is 0 to 9 for gzip and estargz, 0 to 22 for zstd, and counts for nothing else; None is the default.
    Raises InputError for a level or kind that can't be, and what `produce` and `sink` raise.
    """
    if compression is Compression.UNCOMPRESSED:
        produce(sink)
        return Compressed(
            digest=sink.digest,
            diff_id=DiffID(sink.digest),
            archive=DiffID(sink.digest),
            size=sink.size,
            uncompressed_size=sink.size,
        )
    with _compressor(compression, level, sink) as compressor, HashingSink(compressor) as tar:
        produce(tar)
        compressor.finish()
        added = compressor.tail
        size = tar.size + len(added)
        return Compressed(
            digest=sink.digest,
            diff_id=DiffID(tar.digest_with(added) if added else tar.digest),
            archive=DiffID(tar.digest),
            size=sink.size,
            uncompressed_size=size,
            annotations=_annotations(compressor, size),
        )


def _annotations(compressor: _Filter, size: int) -> dict[str, str]:
    if not isinstance(compressor, Estargz):
        return {}
    return {TOC_DIGEST: compressor.toc_digest, UNCOMPRESSED_SIZE: str(size)}


def _compressor(compression: Compression, level: int | None, sink: Sink) -> _Filter:
    check_level(compression, level)
    if compression is Compression.ZSTD:
        return _Zstd(sink, level)
    isal = _isal() if level is None else None
    default = _DEFAULT_ZLIB_LEVEL if isal is None else _DEFAULT_ISAL_LEVEL
    library = zlib if isal is None else isal
    kind = Gzip if compression is Compression.GZIP else Estargz
    return kind(sink, library, default if level is None else level)


def compressing(chunks: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """Give a stream compressed as `compress` does by default: the same bytes."""
    made: list[bytes] = []

    class _Made:
        def write(self, data: bytes, /) -> None:
            made.append(data)

    if compression is Compression.UNCOMPRESSED:
        yield from chunks
        return
    with _compressor(compression, None, _Made()) as compressor:
        for chunk in chunks:
            compressor.write(chunk)
            yield from made
            made.clear()
        compressor.finish()
        yield from made


class _Zstd:
    """Compresses to one zstd frame; the library has the threads."""

    def __init__(self, sink: Sink, level: int | None) -> None:
        zstd = zstd_library()
        self.tail = b""
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

    Decompressing runs in a thread of its own, which ends with the block. The first piece is small, so that
    a look at the beginning doesn't stumble over what is wrong behind it. Reading raises InvalidLayer for
    damaged data, Cancelled.
    """
    check = current_check()
    first = source.read(_READ)
    compression = detect(first)
    with ReadAhead(_decompressing(compression, _chunks(first, source, check), check)) as stream:
        yield stream


def _chunks(first: bytes, source: Source, check: Callable[[], None]) -> Iterator[bytes]:
    data = first
    while data:
        check()
        yield data
        data = source.read(_READ)


def _decompressing(
    compression: Compression, chunks: Iterator[bytes], check: Callable[[], None]
) -> Iterator[bytes]:
    if compression is Compression.UNCOMPRESSED:
        return chunks
    make, errors = _decompressor_of(compression)
    return _Streams(compression, make, errors, check).read(chunks)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


_Errors = tuple[type[Exception], ...]


def _decompressor_of(compression: Compression) -> tuple[Callable[[], _Decompressor], _Errors]:
    """Return what makes a decompressor, and the errors by which it says that data is damaged."""
    if compression is Compression.GZIP:
        library = _isal() or zlib
        return partial(_Inflater, library), (zlib.error, _error_of(library))
    if compression is Compression.ZSTD:
        zstd = zstd_library()
        error: type[Exception] = zstd.ZstdError
        return zstd.ZstdDecompressor, (error,)
    # Rare enough (ADD of an archive) that start-up shouldn't pay for them.
    if compression is Compression.BZIP2:
        bz2 = import_module("bz2")
        return bz2.BZ2Decompressor, (OSError, ValueError)
    lzma = import_module("lzma")
    return partial(lzma.LZMADecompressor, memlimit=_MOST_MEMORY), (lzma.LZMAError,)


class _Inflater:
    """A gzip member by zlib, or by a library like it, in the manner of the other decompressors."""

    def __init__(self, library: ModuleType) -> None:
        self._inflater = library.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._inflater.eof)

    @property
    def unused_data(self) -> bytes:
        data: bytes = self._inflater.unused_data
        return data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        tail = self._inflater.unconsumed_tail
        made: bytes = self._inflater.decompress(tail + data if tail else data, max_length)
        # A full piece says nothing of what is left inside the library.
        self.needs_input = len(made) < max_length and not self._inflater.unconsumed_tail
        return made


class _Streams:
    """Decompresses one stream after another; zeros behind the last one are padding."""

    def __init__(
        self,
        compression: Compression,
        make: Callable[[], _Decompressor],
        errors: _Errors,
        check: Callable[[], None],
    ) -> None:
        self._compression = compression
        self._make = make
        self._decompressor = make()
        self._errors = errors
        self._check = check
        self._most = _FIRST
        self._is_first = True
        self._start = b""
        """The first bytes of a stream behind another one."""

    def read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Give what is in the streams. Raises InvalidLayer, naming what is wrong."""
        caught: _Errors = (*self._errors, EOFError)
        try:
            yield from self._read(chunks)
        except caught as error:
            raise self._trouble(error) from error

    def _read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield from self._decompressed(chunk) if self._is_first else self._in_pieces(chunk)
        if not self._decompressor.eof:
            raise EOFError("it is cut short")

    def _decompressed(self, piece: bytes) -> Iterator[bytes]:
        data = piece
        while data or not (self._decompressor.needs_input or self._decompressor.eof):
            if self._decompressor.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._decompressor = self._make()
                self._is_first, self._start = False, b""
            self._check()
            self._start += data[: _MAGIC - len(self._start)]
            yield self._decompressor.decompress(data, self._most)
            self._most = _MOST
            data = self._decompressor.unused_data if self._decompressor.eof else b""
            if len(data) > _SMALL:
                yield from self._in_pieces(data)
                return

    def _in_pieces(self, data: bytes) -> Iterator[bytes]:
        """Decompress what follows the first stream.

        What is behind a stream's end is copied for each that ends: that would be the whole chunk thousands
        of times if they are empty.
        """
        for at in range(0, len(data), _SMALL):
            yield from self._decompressed(data[at : at + _SMALL])

    def _trouble(self, error: Exception) -> InvalidLayer:
        if not self._is_first and detect(self._start) is not self._compression:
            return InvalidLayer(
                f"there are bytes behind the end of the {self._compression} data that are no part of it",
                hint="cut them off, or make the archive again",
            )
        if "memory" in str(error).lower():
            return InvalidLayer(
                f"the {self._compression} data needs too much memory to be unpacked: {error}",
                hint="compress it with a smaller window",
            )
        return InvalidLayer(
            f"the {self._compression} data is damaged: {error}",
            hint="fetch or make the archive again",
        )


@cache
def _isal() -> ModuleType | None:
    """Return isal's zlib if it is installed; looked for when needed, as start-up shouldn't pay."""
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return None


def _error_of(library: ModuleType) -> type[Exception]:
    error: type[Exception] = library.error
    return error
