"""gzip as pigz makes it: one member of chunks that are compressed side by side.

Each chunk has the 32 KiB before it as its dictionary, so what is cut makes little difference to the size, and the
number of threads none at all. Source: RFC 1952.
"""

from __future__ import annotations

import zlib
from functools import partial
from types import ModuleType
from typing import Self

from polyarch.layer.pipes import InOrder
from polyarch.layer.tar import Sink

__all__ = ["Gzip"]

_HEADER = bytes.fromhex("1f8b08000000000000ff")
_CHUNK = 1 << 19
_WINDOW = 1 << 15


class Gzip:
    """Compresses to one gzip member, chunk by chunk, in several threads."""

    def __init__(self, sink: Sink, library: ModuleType, level: int) -> None:
        self.tail = b""
        self._library = library
        self._level = level
        self._sink = sink
        self._work = InOrder(sink.write)
        self._parts: list[bytes] = []
        self._waiting = 0
        self._window = memoryview(b"")
        self._checksum = 0
        self._size = 0
        sink.write(_HEADER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._work.__exit__(None, None, None)

    def write(self, data: bytes, /) -> None:
        """Take bytes of what is compressed."""
        self._checksum = self._library.crc32(data, self._checksum)
        self._size += len(data)
        self._parts.append(data)
        self._waiting += len(data)
        # One byte more than a chunk must be there, as the last chunk is ended in another way.
        if self._waiting > _CHUNK:
            self._cut()

    def _cut(self) -> None:
        data = b"".join(self._parts)
        view = memoryview(data)
        end = (len(data) - 1) // _CHUNK * _CHUNK
        for start in range(0, end, _CHUNK):
            chunk, window = view[start : start + _CHUNK], self._window
            self._work.add(partial(self._deflate, chunk, window, last=False))
            self._window = chunk[-_WINDOW:]
        self._parts = [data[end:]]
        self._waiting = len(data) - end

    def finish(self) -> None:
        """Write what is left and the end."""
        data = b"".join(self._parts)
        self._work.finish()
        self._sink.write(self._deflate(data, self._window, last=True))
        size = self._size & 0xFFFFFFFF
        self._sink.write(self._checksum.to_bytes(4, "little") + size.to_bytes(4, "little"))

    def _deflate(self, data: bytes | memoryview, window: memoryview, *, last: bool) -> bytes:
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
