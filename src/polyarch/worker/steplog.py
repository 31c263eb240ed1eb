"""What a step prints: passed on as events, without secrets; the end of it is kept for the error."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from polyarch.graph.vertex import Vertex
from polyarch.progress import LogEvent, Sink

if TYPE_CHECKING:
    from polyarch.worker.masking import Masker, StreamMasker

__all__ = ["StepLog"]

_TAIL_LINES = 10
_TAIL_BYTES = 1 << 16


class StepLog:
    """Takes the output of a step, from one thread; its end has to be told."""

    def __init__(self, vertex: Vertex, sink: Sink, masker: Masker | None) -> None:
        self._vertex = vertex
        self._sink = sink
        self._masker = masker
        self._streams: dict[int, StreamMasker] = {}
        self._end: deque[bytes] = deque()
        self._size = 0

    def write(self, stream: int, data: bytes) -> None:
        """Take a piece of output."""
        if self._masker is None:
            self._tell(stream, data)
            return
        masker = self._streams.get(stream)
        if masker is None:
            masker = self._streams[stream] = self._masker.stream()
        self._tell(stream, masker.feed(data))

    def end(self) -> None:
        """Pass on what was held back."""
        for stream, masker in self._streams.items():
            self._tell(stream, masker.end())

    def _tell(self, stream: int, data: bytes) -> None:
        if not data:
            return
        self._sink(LogEvent(step=self._vertex.digest, stream=stream, data=data, time=time.time()))
        self._end.append(data)
        self._size += len(data)
        while self._size - len(self._end[0]) > _TAIL_BYTES:
            self._size -= len(self._end.popleft())

    def tail(self) -> tuple[str, ...]:
        """Return the last lines."""
        text = b"".join(self._end).decode("utf-8", "replace")
        return tuple(text.splitlines()[-_TAIL_LINES:])
