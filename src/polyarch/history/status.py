"""The events of a build as BuildKit keeps them: its logs, in files and in archives.

    size (4 bytes, little-endian)  StatusResponse      one after the other

Source: BuildKit's `control.proto`, and `ImportStatus` of its history, which writes them.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.digest import Digest
from polyarch.history.batches import in_order
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent
from polyarch.wire import Message, field, fields, time_field

__all__ = ["events_in", "events_of", "packed", "read_warning", "status_message"]

_SIZE = 4


def packed(event: Event, now: float) -> bytes:
    """Return an event with its size before it; `now` is when it came, in seconds since the epoch."""
    message = status_message(event, now)
    return len(message).to_bytes(_SIZE, "little") + message


def status_message(event: Event, now: float) -> bytes:
    """Return a StatusResponse with an event; several of them one after the other are one, too."""
    match event:
        case StepEvent():
            return field(1, _vertex(event))
        case StatusEvent():
            return field(2, _status(event, now))
        case LogEvent():
            return field(3, _log(event))
        case WarningEvent():
            return field(4, _warning(event))


def _vertex(event: StepEvent) -> bytes:
    return b"".join(
        (
            field(1, event.step),
            *(field(2, each) for each in event.inputs),
            field(3, event.name),
            field(4, event.cached),
            time_field(5, event.started),
            time_field(6, event.completed),
            field(7, event.error),
        )
    )


def _status(event: StatusEvent, now: float) -> bytes:
    return b"".join(
        (
            field(1, event.id),
            field(2, event.step),
            field(4, event.current),
            field(5, event.total),
            time_field(6, now),
            time_field(7, event.started),
            time_field(8, event.completed),
        )
    )


def _log(event: LogEvent) -> bytes:
    return (
        field(1, event.step)
        + time_field(2, event.time)
        + field(3, event.stream)
        + field(4, event.data)
    )


def _warning(event: WarningEvent) -> bytes:
    lines = range(event.line, max(event.line, event.last_line) + 1) if event.line else ()
    source = field(1, event.filename) + field(2, event.source) + field(4, "Dockerfile")
    return b"".join(
        (
            field(1, event.step),
            field(2, event.level),
            field(3, event.short),
            *(field(4, each) for each in event.detail),
            field(5, event.url),
            field(6, source if event.filename else b""),
            *(field(7, field(1, field(1, line)) + field(2, field(1, line))) for line in lines),
        )
    )


# --- reading ---


def events_of(data: bytes) -> Iterator[tuple[float, Event]]:
    """Give the events that are kept in `data`, each with the time when it came, 0 if that isn't known.

    A last one that is cut off, as a kill leaves it, is left out. Raises IntegrityError for what is no event.
    """
    at = 0
    while len(data) - at >= _SIZE:
        start = at + _SIZE
        at = start + int.from_bytes(data[at:start], "little")
        if at > len(data):
            return
        yield from in_order(tuple(events_in(data[start:at])))


def events_in(message: bytes) -> Iterator[tuple[float, Event]]:
    """Give the events of a StatusResponse, each with its time as `events_of` does. Raises IntegrityError."""
    for number, value in fields(message):
        read = _READERS.get(number)
        if read is not None:
            told = Message(value)
            event = read(told)
            yield _came(event, told), event


def _came(event: Event, message: Message) -> float:
    match event:
        case StepEvent():
            return event.completed or event.started or 0.0
        case StatusEvent():
            return message.time(6) or 0.0
        case LogEvent():
            return event.time
        case WarningEvent():
            return 0.0


def _read_vertex(message: Message) -> Event:
    return StepEvent(
        step=Digest(message.text(1)),
        name=message.text(3),
        inputs=tuple(map(Digest, message.texts(2))),
        started=message.time(5),
        completed=message.time(6),
        cached=bool(message.integer(4)),
        error=message.text(7),
    )


def _read_status(message: Message) -> Event:
    return StatusEvent(
        step=Digest(message.text(2)),
        id=message.text(1),
        current=message.integer(4),
        total=message.integer(5),
        started=message.time(7),
        completed=message.time(8),
    )


def _read_log(message: Message) -> Event:
    return LogEvent(
        step=Digest(message.text(1)),
        stream=message.integer(3),
        data=b"".join(message.all(4)),
        time=message.time(2) or 0.0,
    )


def read_warning(message: Message) -> WarningEvent:
    """Read a warning, as records and frontends tell of it."""
    source = next(iter(message.messages(6)), Message(b""))
    lines = [
        position.integer(1)
        for each in message.messages(7)
        for position in (*each.messages(1), *each.messages(2))
    ]
    return WarningEvent(
        step=Digest(message.text(1)),
        short=message.text(3),
        detail=message.texts(4),
        url=message.text(5),
        line=min(lines, default=0),
        last_line=max(lines, default=0),
        filename=source.text(1),
        source=source.text(2),
        level=message.integer(2),
    )


_READERS = {1: _read_vertex, 2: _read_status, 3: _read_log, 4: read_warning}
