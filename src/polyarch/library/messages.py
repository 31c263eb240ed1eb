"""What is said between a caller and its engine: requests, events, answers <-> messages."""

from __future__ import annotations

from polyarch.errors import InternalError
from polyarch.library.channel import Message
from polyarch.library.codec import decode, encode
from polyarch.library.failures import decode_error, encode_error
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent
from polyarch.request.result import BuildResult

__all__ = ["READY", "error_message", "event_message", "read_answer", "read_event", "result_message"]

READY = {"ready": True}
_EVENTS: dict[str, type[Event]] = {
    each.__name__: each for each in (LogEvent, StatusEvent, StepEvent, WarningEvent)
}


def event_message(event: Event) -> Message:
    """Return the message that tells of an event."""
    return {"event": type(event).__name__, "of": encode(event)}


def read_event(message: Message) -> Event | None:
    """Return the event that a message tells of; None if it is the answer. Raises InternalError."""
    if "event" not in message:
        return None
    kind = _EVENTS.get(str(message["event"]))
    if kind is None:
        raise InternalError(f"the engine has told of an unknown event: {message['event']}")
    return decode(kind, message.get("of"))


def result_message(result: BuildResult) -> Message:
    """Return the answer of a build that has succeeded."""
    return {"result": encode(result)}


def error_message(error: BaseException) -> Message:
    """Return the answer of what has failed."""
    return {"error": encode_error(error)}


def read_answer(message: Message) -> BuildResult:
    """Return the result that an answer holds, or raise its error."""
    if "error" in message:
        raise decode_error(message["error"])
    return decode(BuildResult, message.get("result"))
