"""Servers that go away in good order: no new calls, but those that are under way may end.

A daemon that is told to stop says so (GOAWAY without an error), and has its builds go on for as long as it is given: half a minute in a
pod that is replaced. The HTTP/2 library breaks all calls off when it hears that, so it isn't told.

Source: RFC 9113, 4.1 and 6.8.
"""

from __future__ import annotations

__all__ = ["Farewell"]

_HEAD = 9
_SETTINGS, _GOAWAY = 4, 7
_CODE = slice(_HEAD + 4, _HEAD + 8)


class Farewell:
    """Looks at what a server sends, frame by frame, and keeps back its goodbye.

    `has_spoken` says that it does speak HTTP/2; `is_said`, that it is going away, and takes no more calls.
    """

    def __init__(self) -> None:
        self.has_spoken = False
        self.is_said = False
        self._rest = 0
        """Bytes of a frame that are still to come."""
        self._held = b""
        """The beginning of a frame that can't be told yet."""

    def without(self, data: bytes) -> bytes:
        """Return what is to be handed on of some bytes, and of those that were held."""
        data, self._held = self._held + data, b""
        at, passed = 0, []
        begin = 0
        while True:
            taken = min(self._rest, len(data) - at)
            at, self._rest = at + taken, self._rest - taken
            if self._rest or at == len(data):
                break
            size = self._size(data, at)
            if not size or (data[at + 3] == _GOAWAY and at + size > len(data)):
                self._held = data[at:]
                break
            if data[at + 3] == _GOAWAY and not any(data[at:][_CODE]):
                self.is_said = True
                passed.append(data[begin:at])
                at = begin = at + size
                continue
            self._rest = size
        passed.append(data[begin:at])
        return b"".join(passed)

    def _size(self, data: bytes, at: int) -> int:
        """Return the length of the frame at a place, 0 if its head isn't all there."""
        if len(data) - at < _HEAD:
            return 0
        self.has_spoken = self.has_spoken or data[at + 3] == _SETTINGS
        return _HEAD + int.from_bytes(data[at : at + 3])
