"""A stream cut into pieces at places that its content says, so that a change moves no cut but those beside it.

A cut is behind two bytes that programs and what is compressed have as often as any others, and texts hardly ever. Where these
don't come for a while, it is behind a certain sequence of low bits of bytes, which is about as likely in texts as
elsewhere; zeros and other runs without it are cut at a fixed length. The first are found by `re` at 3 GB a second, the others by
`bytes.translate` and `bytes.find` at 500 MB, where a rolling hash in Python would be a hundred times slower.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["COARSE", "FINE", "Cutter", "Grain"]

_CODES = bytes(value & 15 for value in range(256))
_SEQUENCE = bytes((1, 4, 5, 3, 9))


@frozen
class Grain:
    """How finely a stream is cut: into `least` to `most` bytes.

    A cut is behind what matches `mark`, if that comes in the `marked` bytes after the least; otherwise after `length`
    codes that fit.
    """

    mark: re.Pattern[bytes]
    marked: int
    length: int
    least: int
    most: int


FINE = Grain(mark=pattern(rb"\xa7\x3c"), marked=128 << 10, length=4, least=64 << 10, most=512 << 10)
"""Into some 130 KiB each."""
COARSE = Grain(
    mark=pattern(rb"\xa7\x3c[\x00-\x0f]"),
    marked=2 << 20,
    length=5,
    least=256 << 10,
    most=8 << 20,
)
"""Into some 1.2 MiB each, for streams of many gigabytes."""


class Cutter:
    """Takes a stream and gives `emit` its pieces, in order. The same stream has the same pieces, however it comes.

    Pieces are views of what was written, as far as they lie in it: to copy them takes longer than to find where they end.
    """

    def __init__(self, grain: Grain, emit: Callable[[memoryview], object]) -> None:
        self._grain = grain
        self._emit = emit
        self._sequence = _SEQUENCE[: grain.length]
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, data: bytes, /) -> None:
        """Take some bytes; they mustn't be changed afterwards."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= self._grain.most:
            self._cut()

    def finish(self) -> None:
        """Give what is left."""
        if self._size:
            self._cut()
        if self._size:
            self._emit(memoryview(b"".join(self._waiting)))
            self._waiting, self._size = [], 0

    def _cut(self) -> None:
        """Give the pieces of what is waiting, except for one that may go on with what follows."""
        *before, last = self._waiting
        rest = b"".join(before)
        start = 0
        # Only what the pieces need that begin before the last write is put together with it: mostly little.
        for needed in (self._grain.least + self._grain.marked, self._grain.most):
            if start < len(rest):
                head = rest[start:] + last[:needed]
                start += self._cut_from(head, 0, len(rest) - start)
        if start < len(rest):
            self._keep(rest[start:] + last)
        else:
            start -= len(rest)
            self._keep(last[self._cut_from(last, start, len(last)) :])

    def _keep(self, rest: bytes) -> None:
        self._waiting, self._size = [rest] if rest else [], len(rest)

    def _cut_from(self, data: bytes, start: int, limit: int) -> int:
        """Give the pieces that begin from `start` on and before `limit`; return where the next one begins."""
        view = memoryview(data)
        while start < limit and (end := self._find_end(data, start)):
            self._emit(view[start:end])
            start = end
        return start

    def _find_end(self, data: bytes, start: int) -> int:
        """Return where the piece that begins at `start` ends; 0 if that depends on what follows."""
        grain = self._grain
        first = start + grain.least
        if found := grain.mark.search(data, first, first + grain.marked):
            return found.end()
        if first + grain.marked > len(data):
            return 0
        last = start + grain.most
        most = min(last, len(data))
        # Looked at in short parts: most pieces end soon, and what lies behind would be translated for each anew.
        part = grain.least // 2
        for begin in range(first, most, part):
            codes = data[begin : begin + part + grain.length - 1].translate(_CODES)
            place = codes.find(self._sequence)
            if place >= 0 and begin + place + grain.length <= most:
                return begin + place + grain.length
        return last if last <= len(data) else 0
