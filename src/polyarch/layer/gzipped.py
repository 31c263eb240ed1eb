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

__all__ = ["Gzip", "deflated"]

_HEADER = bytes.fromhex("1f8b08000000000000ff")
_CHUNK = 1 << 19
_WINDOW = 1 << 15
_ONE_STORED = bytes.fromhex("000100feff")
"""Begins a block of one byte, stored, that isn't the last (RFC 1951, section 3.2.4)."""


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
            work = partial(deflated, self._library, self._level, chunk, window, last=False)
            self._work.add(work)
            self._window = chunk[-_WINDOW:]
        self._parts = [data[end:]]
        self._waiting = len(data) - end

    def finish(self) -> None:
        """Write what is left and the end."""
        data = b"".join(self._parts)
        self._work.finish()
        self._sink.write(deflated(self._library, self._level, data, self._window))
        size = self._size & 0xFFFFFFFF
        self._sink.write(self._checksum.to_bytes(4, "little") + size.to_bytes(4, "little"))


def deflated(
    library: ModuleType,
    level: int,
    data: bytes | memoryview,
    window: bytes | memoryview = b"",
    *,
    last: bool = True,
) -> bytes:
    """Return data as raw deflate, which the `window` before it, of 32 KiB at most, helps to compress.

    The result depends on the arguments and the library's version alone. isal's doesn't by itself: where nothing
    comes before, it looks the third byte up by what happens to be in a register, an address (isa-l 2.31,
    `write_first_byte` in igzip_icf_body_h1_gr_bt.asm), and one stream of some ten thousand is another one. So it is
    given a window always: the first byte, which is stored as a block of its own, at a cost of 6 bytes.
    """
    arguments = (level, library.DEFLATED, -zlib.MAX_WBITS)
    start = b""
    if library is not zlib and data and not window:
        window, data = data[:1], data[1:]
        start = _ONE_STORED + window
    compressor = (
        library.compressobj(*arguments, zdict=window) if window else library.compressobj(*arguments)
    )
    end = library.Z_FINISH if last else library.Z_SYNC_FLUSH
    result: bytes = start + compressor.compress(data) + compressor.flush(end)
    return result
