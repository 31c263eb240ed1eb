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
    """Takes a stream and gives `emit` its pieces, in order. The same stream has the same pieces, however it comes."""

    def __init__(self, grain: Grain, emit: Callable[[bytes], object]) -> None:
        self._grain = grain
        self._emit = emit
        self._sequence = _SEQUENCE[: grain.length]
        self._waiting = bytearray()

    def write(self, data: bytes, /) -> None:
        """Take some bytes."""
        self._waiting += data
        while len(self._waiting) >= self._grain.most:
            self._cut()

    def finish(self) -> None:
        """Give what is left."""
        while self._waiting:
            self._cut()

    def _cut(self) -> None:
        end = self._find_end()
        piece = bytes(self._waiting[:end])
        del self._waiting[:end]
        self._emit(piece)

    def _find_end(self) -> int:
        """Return where the first piece of what is waiting ends."""
        least, most = self._grain.least, min(self._grain.most, len(self._waiting))
        length = len(self._sequence)
        # Looked at in short parts: most pieces end soon, and what lies behind would be translated for each anew.
        part = least // 2
        for start in range(least, most, part):
            end = min(start + part + length - 1, most)
            codes = self._waiting[start:end].translate(_CODES)
            found = codes.find(self._sequence)
            if found >= 0:
                return start + found + length
        return most
