"""How long steps took: events, as they pass by, to the times that a result holds."""

from __future__ import annotations

import time

from polyarch.progress import Event, Sink, StepEvent
from polyarch.record import replace
from polyarch.request.result import BuildResult, StepTime

__all__ = ["StepTimes"]


class StepTimes:
    """A sink that notes the times of steps and passes all events on."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._begun = time.monotonic()
        self._ended: dict[str, StepTime] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, StepEvent) and event.completed is not None:
            started = event.completed if event.started is None else event.started
            self._ended[event.step] = StepTime(
                name=event.name,
                seconds=max(0.0, event.completed - started),
                cached=event.cached,
            )
        self._sink(event)

    def added_to(self, result: BuildResult) -> BuildResult:
        """Return the result with the times so far."""
        seconds = time.monotonic() - self._begun
        return replace(result, seconds=seconds, steps=tuple(self._ended.values()))
