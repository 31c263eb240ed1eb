"""Steps that print too much: what of their logs is shown.

Each stream of a step may print so many bytes in all and so many per second of its life; the rest is
left out, with a remark that names the file that has all of it. Only the display does this: the kept
logs and programs that read events get everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int
from polyarch.golang.units import limit_size
from polyarch.progress import LogEvent, StatusEvent, StepEvent
from polyarch.record import mutable, replace

__all__ = ["LogClipper"]

_MAX_SIZE = 2 * 1024 * 1024
_MAX_SPEED = 200 * 1024


@mutable
class _Stream:
    created: float
    size: int = 0
    clipping: bool = False


class LogClipper:
    """Clips what comes through it. Limits are in bytes, per stream; -1 is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._max_size = _limit(environ, "BUILDKIT_STEP_LOG_MAX_SIZE", _MAX_SIZE)
        self._max_speed = _limit(environ, "BUILDKIT_STEP_LOG_MAX_SPEED", _MAX_SPEED)
        self._started: dict[Digest, float] = {}
        self._streams: dict[tuple[Digest, int], _Stream] = {}

    def note(self, event: StepEvent | StatusEvent) -> None:
        """Remember when a step started: its streams are as old as itself."""
        if isinstance(event, StepEvent) and event.started is not None:
            self._started[event.step] = event.started

    def clip(self, event: LogEvent) -> LogEvent | None:
        """Return the event with what may be shown of its data; None if that is nothing."""
        key = (event.step, event.stream)
        stream = self._streams.get(key)
        if stream is None:
            stream = _Stream(created=self._started.get(event.step, event.time))
            self._streams[key] = stream
        limit, reason = self._limit_at(event.time - stream.created)
        room = len(event.data) if limit < 0 else max(0, limit - stream.size)
        stream.size += len(event.data)
        if room >= len(event.data):
            stream.clipping = False
            return event
        data = event.data[:room]
        if not stream.clipping:
            stream.clipping = True
            data += f"\n[output clipped, log limit {reason} reached]\n".encode()
            if event.kept:
                data += f"[all of it: {event.kept}]\n".encode(errors="replace")
        return replace(event, data=data) if data else None

    def _limit_at(self, age: float) -> tuple[int, str]:
        """How much a stream of this age may have printed, and how that limit is called."""
        if self._max_speed >= 0:
            limit = max(1, math.ceil(age)) * self._max_speed
            if self._max_size < 0 or limit <= self._max_size:
                return limit, limit_size(self._max_speed) + "/s"
        return self._max_size, limit_size(self._max_size)


def _limit(environ: Mapping[str, str], name: str, default: int) -> int:
    try:
        return parse_int(environ.get(name, ""))
    except InputError:
        return default
