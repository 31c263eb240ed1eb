"""Pieces of archives as zstd frames, made quickly rather than well, and read again.

What can't be compressed (media, archives, keys: much of what is large) is told by samples and wrapped as it is: a frame
may hold plain blocks. To find that out by compressing takes as long as hashing does. Source: RFC 8878, "Zstandard Frames".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

from polyarch.errors import InvalidLayer

__all__ = ["Framer", "decompress_piece", "zstd_library"]

_LEVEL = 1
_MAGIC = 0xFD2FB528
_SIZE_IN_4_BYTES, _SINGLE_SEGMENT = 2 << 6, 1 << 5
_BLOCK = 128 << 10
"""Bytes that a block has at most."""
_SAMPLE = 2 << 10
_EVERY = 32 << 10
"""Bytes after which there is another sample: a stretch of twice as many that can be compressed isn't missed."""


class Framer:
    """Makes frames. The same bytes give the same frame. Not to be used from several threads at once."""

    def __init__(self) -> None:
        zstd = zstd_library()
        self._compressor = zstd.ZstdCompressor(level=_LEVEL)
        self._whole = zstd.ZstdCompressor.FLUSH_FRAME

    def frame(self, data: bytes | memoryview) -> bytes:
        """Return a frame of some bytes."""
        if len(data) > _EVERY and self._is_dense(data):
            return b"".join(_plain(memoryview(data)))
        return self._compress(data)

    def _is_dense(self, data: bytes | memoryview) -> bool:
        samples = (data[start : start + _SAMPLE] for start in range(0, len(data), _EVERY))
        return all(len(self._compress(each)) >= len(each) for each in samples)

    def _compress(self, data: bytes | memoryview) -> bytes:
        frame: bytes = self._compressor.compress(data, self._whole)
        return frame


def _plain(data: memoryview) -> Iterator[bytes | memoryview]:
    """Give the parts of a frame that holds bytes as they are."""
    head = _MAGIC.to_bytes(4, "little") + bytes((_SIZE_IN_4_BYTES | _SINGLE_SEGMENT,))
    yield head + len(data).to_bytes(4, "little")
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        is_last = start + _BLOCK >= len(data)
        yield (len(block) << 3 | is_last).to_bytes(3, "little")
        yield block


def decompress_piece(frame: bytes | memoryview, limit: int) -> bytes:
    """Return what is in a frame, at most `limit` bytes. Raises InvalidLayer."""
    zstd = zstd_library()
    try:
        decompressor = zstd.ZstdDecompressor()
        data: bytes = decompressor.decompress(frame, max_length=limit)
    except zstd.ZstdError as error:
        raise InvalidLayer(f"the zstd data is damaged: {error}") from error
    if not decompressor.eof:
        raise InvalidLayer(f"the zstd data is cut short, or has more than {limit} bytes")
    return data


@cache
def zstd_library() -> ModuleType:
    """Return the zstd library: the standard one from Python 3.14 on, else its backport.

    It is asked for with every piece of a cache, and an import that fails is tried anew each time.
    """
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")
