"""What answers calls: messages of a bounded size, and errors as gRPC tells them.

Source: BuildKit's `util/grpcerrors` and `solver/errdefs`.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Method
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from polyarch.errors import Cancelled, InputError, InternalError, PolyarchError
from polyarch.golang.json import compact
from polyarch.graph.location import Location
from polyarch.serve.llb.definition import Place
from polyarch.wire import field

__all__ = [
    "LARGEST",
    "Call",
    "Detailed",
    "Details",
    "Methods",
    "error_of",
    "received",
    "streamed",
    "unary",
]

LARGEST = 16 << 20
"""Bytes of a message that is taken, as BuildKit has it."""
_HEAD = 5
_SOURCE = "github.com/moby/buildkit/errdefs.Source+json"
_SOLVING = "failed to solve: "

Call = Callable[[Any], Awaitable[None]]
Unary = Callable[[bytes, Any], Awaitable[bytes]]


class Details(StatusDetailsCodecBase):
    """Details of errors are bytes already: the `Any`s of a status of Google's."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """Return the status as a message."""
        assert isinstance(details, bytes)
        return field(1, status.value) + field(2, message or "") + details

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        """Return the message: nobody looks into it."""
        del status, message
        return data


async def received(stream: Any) -> bytes | None:
    """Return the next message of a call, None after the last. Raises GRPCError for one that is too large.

    The library would take whatever size a message claims to have.
    """
    source = stream._stream  # noqa: SLF001 the library has no bound of its own
    head = await source.recv_data(_HEAD)
    if not head:
        return None
    size = int.from_bytes(head[1:])
    if head[0]:
        raise GRPCError(Status.UNIMPLEMENTED, "compressed messages aren't supported")
    if size > LARGEST:
        raise GRPCError(
            Status.RESOURCE_EXHAUSTED,
            f"a message of {size} bytes is larger than the {LARGEST} that are taken",
        )
    data: bytes = await source.recv_data(size)
    return data


def unary(answer: Unary) -> Method:
    """Return a method that takes one message, and answers with one; it is given the call's metadata, too."""

    async def call(stream: Any) -> None:
        message = await received(stream)
        await stream.send_message(await answer(message or b"", stream.metadata))

    return Method(_guarded(call), Cardinality.UNARY_UNARY, bytes, bytes)


def streamed(call: Call, *, takes_many: bool = False) -> Method:
    """Return a method that answers with many messages."""
    kind = Cardinality.STREAM_STREAM if takes_many else Cardinality.UNARY_STREAM
    return Method(_guarded(call), kind, bytes, bytes)


class Methods(dict[str, Method]):
    """The methods by their paths. Others are answered as gRPC wants it: the library leaves half of the answer out."""

    def get(self, path: str, _default: Any = None) -> Method:
        """Return a method, for paths of which there is none one that says so."""
        return super().get(path, _UNKNOWN)


async def _refuse(_stream: Any) -> None:
    raise GRPCError(Status.UNIMPLEMENTED, "the server has no such method")


_UNKNOWN = Method(_refuse, Cardinality.UNARY_STREAM, bytes, bytes)


def _guarded(call: Call) -> Call:
    async def guarded(stream: Any) -> None:
        try:
            await call(stream)
        except GRPCError:
            raise
        except Exception as error:
            raise error_of(error) from error

    return guarded


class Detailed(InputError):
    """An error with details that clients unpack."""

    def __init__(self, message: str, details: bytes) -> None:
        super().__init__(message)
        self.details = details


def error_of(error: Exception, details: bytes = b"") -> GRPCError:
    """Return what is told of an error: its text, what it hints at, the place in the Dockerfile, and more `details`."""
    if isinstance(error, GRPCError):
        return error
    if isinstance(error, Cancelled):
        return GRPCError(Status.CANCELLED, "context canceled")
    if isinstance(error, Detailed):
        details += error.details
    if isinstance(error, PolyarchError):
        # Whatever it is: clients write the name of any other status before the message.
        return GRPCError(
            Status.UNKNOWN, str(error).removeprefix(_SOLVING), _place_of(error) + details or None
        )
    return error_of(InternalError(f"polyarch has a bug: {type(error).__name__}: {error}"))


def _place_of(error: PolyarchError) -> bytes:
    """Return the place of an error in a form that buildx shows with the lines around it."""
    place = error.place
    if not isinstance(place, Location):
        return b""
    if isinstance(place, Place):
        # Clients unwrap the first one first, which is the last place that a graph names.
        told = reversed(place.told)
        return b"".join(field(3, field(1, _SOURCE) + field(2, each)) for each in told)
    text = {
        "info": {
            "filename": place.source.name,
            "data": base64.b64encode(place.source.text.encode()).decode(),
            "language": "Dockerfile",
            "definition": {},
        },
        "ranges": [
            {"start": {"line": line}, "end": {"line": line}}
            for line in range(place.start, place.end + 1)
        ],
    }
    return field(3, field(1, _SOURCE) + field(2, compact(text)))
