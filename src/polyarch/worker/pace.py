"""How fast the layers of images came so far in a build: what is to be expected of the next ones."""

from __future__ import annotations

import threading

__all__ = ["Pace"]

_USUAL = 10e6
"""Bytes a second that a registry of the internet gives, with unpacking beside."""
_LEAST_BYTES = 1 << 20
"""Less tells of the latency only."""


class Pace:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0
        self._seconds = 0.0

    def note(self, size: int, seconds: float) -> None:
        """Add layers that were fetched and unpacked: their bytes as they came."""
        with self._lock:
            self._bytes += size
            self._seconds += seconds

    @property
    def bytes_a_second(self) -> float:
        """What is to be expected."""
        with self._lock:
            if self._bytes < _LEAST_BYTES:
                return _USUAL
            return self._bytes / max(self._seconds, 1e-3)
