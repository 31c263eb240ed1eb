"""Progress for programs: one JSON object per event, shaped as BuildKit's `SolveStatus`.

Source: the JSON of BuildKit's client package, as Go's encoding/json writes it: empty fields are left
out, bytes are in base64, times are RFC 3339 in UTC with as many decimals as they need.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from polyarch.cli.display.base import TerminalDisplay
from polyarch.golang.json import compact
from polyarch.golang.time import time_of
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent

__all__ = ["RawJsonDisplay", "solve_status", "warning_json"]

Value = str | int | bool | None | list["Value"] | dict[str, "Value"]


class RawJsonDisplay(TerminalDisplay):
    """Writes each event as a line of JSON, at once."""

    def _take(self, event: Event) -> None:
        status = solve_status(event, self.settings.clock())
        self._terminal.write(compact(status) + b"\n")


def solve_status(event: Event, now: float) -> Mapping[str, Value]:
    """Turn an event into a SolveStatus with just that; `now` is when a status was heard of."""
    match event:
        case StepEvent():
            return {"vertexes": [_vertex(event)]}
        case StatusEvent():
            return {"statuses": [_status(event, now)]}
        case LogEvent():
            return {"logs": [_log(event)]}
        case WarningEvent():
            return {"warnings": [warning_json(event)]}


def _vertex(event: StepEvent) -> dict[str, Value]:
    return _filled(
        digest=event.step,
        inputs=list(event.inputs),
        name=event.name,
        started=_time(event.started),
        completed=_time(event.completed),
        cached=event.cached,
        error=event.error,
        # Not of BuildKit, whose programs pass over it.
        retryable=event.retryable,
    )


def _status(event: StatusEvent, now: float) -> dict[str, Value]:
    return {
        "id": event.id,
        **_filled(vertex=event.step, total=event.total),
        "current": event.current,
        "timestamp": _time(now),
        **_filled(started=_time(event.started), completed=_time(event.completed)),
    }


def _log(event: LogEvent) -> dict[str, Value]:
    return {
        **_filled(vertex=event.step, stream=event.stream),
        "data": base64.b64encode(event.data).decode(),
        "timestamp": _time(event.time),
    }


def warning_json(event: WarningEvent) -> dict[str, Value]:
    """Turn a warning into a `VertexWarning` of BuildKit's client."""
    ranges: list[Value] = []
    for line in range(event.line, max(event.line, event.last_line) + 1) if event.line else ():
        position: dict[str, Value] = {"line": line}
        ranges.append({"start": position, "end": position})
    return _filled(
        vertex=event.step,
        level=1,
        short=_base64(event.short),
        detail=[_base64(line) for line in event.detail],
        url=event.url,
        sourceInfo=_source(event),
        range=ranges,
    )


def _source(event: WarningEvent) -> dict[str, Value]:
    if not event.filename:
        return {}
    return {
        "filename": event.filename,
        "data": _base64(event.source),
        "language": "Dockerfile",
    }


def _filled(**fields: Value) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if value}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode(errors="replace")).decode()


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    # A float holds microseconds of today's times; more decimals would be noise.
    return time_of(round(seconds * 1_000_000), per_second=1_000_000).rfc3339()
