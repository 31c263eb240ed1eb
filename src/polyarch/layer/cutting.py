"""A stream cut into pieces at places that its content says, so that a change moves no cut but those beside it.

A cut is behind a certain sequence of low bits of bytes, which is about as likely in texts as in programs and in what is
compressed; zeros and other runs without it are cut at a fixed length. Searching is done by `bytes.translate` and
`bytes.find`, at some 500 MB a second, where a rolling hash in Python would be a hundred times slower.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.record import frozen

__all__ = ["COARSE", "FINE", "Cutter", "Grain"]

_CODES = bytes(value & 15 for value in range(256))
_SEQUENCE = bytes((1, 4, 5, 3, 9))


@frozen
class Grain:
    """How finely a stream is cut: after `length` codes that fit, and into `least` to `most` bytes."""

    length: int
    least: int
    most: int


FINE = Grain(length=4, least=64 << 10, most=512 << 10)
"""Into some 130 KiB each."""
COARSE = Grain(length=5, least=256 << 10, most=8 << 20)
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
        start = 0
        if before:
            # Only what the pieces need that begin before the last write is put together with it.
            rest = b"".join(before)
            head = rest + last[: self._grain.most]
            end = self._cut_from(head, 0, len(rest))
            if end < len(rest):
                self._keep(head[end:])
                return
            start = end - len(rest)
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
        last = start + self._grain.most
        most = min(last, len(data))
        length = len(self._sequence)
        # Looked at in short parts: most pieces end soon, and what lies behind would be translated for each anew.
        part = self._grain.least // 2
        for begin in range(start + self._grain.least, most, part):
            found = data[begin : begin + part + length - 1].translate(_CODES).find(self._sequence)
            if found >= 0 and begin + found + length <= most:
                return begin + found + length
        return last if last <= len(data) else 0
