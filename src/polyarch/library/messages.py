"""What is said between a caller and its engine: requests, events, answers <-> messages."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InternalError, PolyarchError
from polyarch.library.channel import Message
from polyarch.library.codec import decode, encode
from polyarch.library.failures import decode_error, encode_error
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent
from polyarch.record import frozen
from polyarch.request.baked import BakeResult
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

__all__ = [
    "READY",
    "Requests",
    "baked_message",
    "error_message",
    "event_message",
    "read_answer",
    "read_baked",
    "read_event",
    "result_message",
]


@frozen
class Requests:
    """What many builds are asked for, by their names."""

    by_target: Mapping[str, BuildRequest]


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


def baked_message(baked: BakeResult) -> Message:
    """Return the answer of many builds that have ended, in whichever way."""
    return {
        "results": {name: encode(each) for name, each in baked.results.items()},
        "errors": {name: encode_error(each) for name, each in baked.errors.items()},
    }


def error_message(error: BaseException) -> Message:
    """Return the answer of what has failed."""
    return {"error": encode_error(error)}


def read_baked(message: Message) -> BakeResult:
    """Return what came of many builds, or raise what has ended them all."""
    if "error" in message:
        raise decode_error(message["error"])
    errors = {name: decode_error(each) for name, each in _named(message.get("errors")).items()}
    results = _named(message.get("results"))
    return BakeResult(
        results={name: decode(BuildResult, each) for name, each in results.items()},
        errors={name: each for name, each in errors.items() if isinstance(each, PolyarchError)},
    )


def _named(data: object) -> dict[str, object]:
    if not isinstance(data, dict):
        raise InternalError("the engine has sent results that can't be read")
    return data


def read_answer(message: Message) -> BuildResult:
    """Return the result that an answer holds, or raise its error."""
    if "error" in message:
        raise decode_error(message["error"])
    return decode(BuildResult, message.get("result"))
