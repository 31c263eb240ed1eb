"""What the steps of a daemon print, without the secrets that they were lent."""

from __future__ import annotations

import time

from polyarch.digest import Digest
from polyarch.progress import Event, LogEvent, Sink, StepEvent
from polyarch.worker.masking import Masker, StreamMasker

__all__ = ["MaskedLogs"]


class MaskedLogs:
    """A sink that passes events on; what may go on as a secret waits for the next piece, or the step's end.

    It is called from one thread.
    """

    def __init__(self, sink: Sink, masker: Masker) -> None:
        self._sink = masker.sink(sink)
        self._masker = masker
        self._streams: dict[tuple[Digest, int], StreamMasker] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, LogEvent):
            key = event.step, event.stream
            stream = self._streams.get(key) or self._streams.setdefault(key, self._masker.stream())
            self._tell(key, stream.feed(event.data), event.time)
            return
        if isinstance(event, StepEvent) and event.completed is not None:
            for key in [each for each in self._streams if each[0] == event.step]:
                self._tell(key, self._streams.pop(key).end(), event.completed)
        self._sink(event)

    def end(self) -> None:
        """Pass on what steps had printed whose end nobody tells of any more."""
        while self._streams:
            key, stream = self._streams.popitem()
            self._tell(key, stream.end(), time.time())

    def _tell(self, key: tuple[Digest, int], data: bytes, moment: float) -> None:
        if data:
            self._sink(LogEvent(step=key[0], stream=key[1], data=data, time=moment))
