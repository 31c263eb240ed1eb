"""What a program that passes bytes on, to a daemon behind it, had to say when it ended: the reason of the error that follows."""

from __future__ import annotations

__all__ = ["LastWords", "spoken"]

_LINES = 3
_MOST = 600
_KEPT = 4 << 10


class LastWords:
    """Kept by who reads them, asked for by who has to explain why a connection ended."""

    def __init__(self) -> None:
        self._said = b""
        self._ended = ""

    def hear(self, data: bytes) -> None:
        """Take what was printed on standard error; only the end is kept."""
        self._said = (self._said + data)[-_KEPT:]

    def end(self, text: str) -> None:
        """Take why it ended, which counts if nothing was printed."""
        self._ended = self._ended or text

    def __str__(self) -> str:
        return spoken(self._said) or self._ended


def spoken(data: bytes) -> str:
    """Return the last lines that a program has printed as one, "" if there are none."""
    text = data.decode(errors="replace")
    lines = ["".join(filter(str.isprintable, line)).strip() for line in text.splitlines()]
    return "; ".join(list(filter(None, lines))[-_LINES:])[-_MOST:]
