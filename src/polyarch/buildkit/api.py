"""Calls of a daemon's API. Source: BuildKit's `control.proto`."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from polyarch.buildkit.connection import Said
from polyarch.buildkit.messages import (
    SolveOptions,
    WorkerInfo,
    read_pairs,
    read_workers,
    solve_request,
)
from polyarch.errors import Cancelled, PolyarchError, RemoteError
from polyarch.history.failure import place_of
from polyarch.history.status import events_in
from polyarch.progress import Event
from polyarch.wire import Message, field

__all__ = ["Api", "SolveFailed", "told_trouble"]

_REASONS = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT})
_CONTROL = "/moby.buildkit.v1.Control"
_CONTENT = "/containerd.services.content.v1.Content/Read"


class SolveFailed(PolyarchError):
    """A daemon couldn't build what it was asked for; the message is BuildKit's."""


@contextmanager
def told_trouble(where: str) -> Iterator[None]:
    """Turn what gRPC and connections raise into our errors; `where` is the daemon's address."""
    try:
        yield
    except GRPCError as error:
        raise _error_of(error, where) from error
    except (OSError, StreamTerminatedError, ProtocolError) as error:
        trouble = _said(error) or f"can't be reached: {_cause(error)}"
        raise RemoteError(
            f"the builder at {where} {trouble}",
            hint="look whether BuildKit runs there: polyarch inspect, or buildctl --addr ... debug info",
            temporary=True,
        ) from error


def _said(error: Exception) -> str:
    """Return that a daemon hung up, and what a program between it and us said of that; "" if there was none."""
    said = error.args[0] if error.args else ""
    return f"hung up: {said}" if said and isinstance(said, Said) else ""


def _cause(error: Exception) -> str:
    if isinstance(error, StreamTerminatedError | ProtocolError):
        return "it hung up without an answer, as who wants TLS, a client's certificate, or no gRPC at all"
    # OpenSSL is loaded where it has been spoken to.
    if refused := getattr(error, "verify_message", ""):
        return f"its certificate isn't trusted: {refused}"
    number = error.errno if isinstance(error, OSError) else None
    # What asyncio raises has the address in the place of the reason.
    return os.strerror(number) if number in _REASONS else str(error) or type(error).__name__


def _error_of(error: GRPCError, where: str) -> PolyarchError:
    message = error.message or error.status.name
    if error.status is Status.CANCELLED:
        return Cancelled("context canceled")
    if error.status is Status.UNAVAILABLE:
        return RemoteError(f"the builder at {where} is not available: {message}", temporary=True)
    if error.status is Status.UNIMPLEMENTED:
        return RemoteError(
            f"the builder at {where} is too old: {message}",
            hint="BuildKit 0.9 and newer is understood",
        )
    status = error.details if isinstance(error.details, bytes) else b""
    return SolveFailed(message, place=place_of(status))


class Api:
    """The calls, over one channel. What they raise is gRPC's: see `told_trouble`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the daemon's workers."""
        return read_workers(await self._call("ListWorkers", b""))

    async def version(self) -> str:
        """Return BuildKit's version, "" if the daemon is too old to say."""
        try:
            answer = Message(await self._call("Info", b""))
        except GRPCError as error:
            if error.status is Status.UNIMPLEMENTED:
                return ""
            raise
        return next((each.text(2) for each in answer.messages(1)), "")

    async def solve(self, options: SolveOptions) -> dict[str, str]:
        """Have something built; returns what the exporters answer."""
        return read_pairs(Message(await self._call("Solve", solve_request(options))), 1)

    async def status(self, ref: str) -> AsyncIterator[tuple[float, Event]]:
        """Give the events of a build, each with its time, until it ends."""
        method: Any = UnaryStreamMethod(self._channel, f"{_CONTROL}/Status", bytes, bytes)
        async with method.open() as stream:
            await stream.send_message(field(1, ref), end=True)
            async for message in stream:
                for moment, event in events_in(message):
                    yield moment, event

    async def history(self, ref: str = "") -> list[bytes]:
        """Return the records of builds that there are, or that of one build."""
        request = field(2, ref) + field(3, 1)
        found = [
            Message(each).bytes(2)
            async for each in self._stream(f"{_CONTROL}/ListenBuildHistory", request)
        ]
        return [each for each in found if each]

    async def forget_build(self, ref: str) -> None:
        """Remove the record of a build."""
        await self._call("UpdateBuildHistory", field(1, ref) + field(3, 1))

    async def content(self, digest: str) -> bytes:
        """Return a blob that the daemon keeps with a record."""
        parts = [Message(each).bytes(2) async for each in self._stream(_CONTENT, field(1, digest))]
        return b"".join(parts)

    async def disk_usage(self) -> list[bytes]:
        """Return the records of the cache."""
        return Message(await self._call("DiskUsage", b"")).all(1)

    def prune(self, request: bytes) -> AsyncIterator[bytes]:
        """Have records of the cache removed; gives those that went."""
        return self._stream(f"{_CONTROL}/Prune", request)

    async def _stream(self, path: str, request: bytes) -> AsyncIterator[bytes]:
        method: Any = UnaryStreamMethod(self._channel, path, bytes, bytes)
        async with method.open() as stream:
            await stream.send_message(request, end=True)
            async for message in stream:
                yield message

    def session(self, metadata: list[tuple[str, str]]) -> Any:
        """Open the stream that a session is carried by: an asynchronous context manager."""
        from grpclib.client import StreamStreamMethod  # noqa: PLC0415 names are many already

        method: Any = StreamStreamMethod(self._channel, f"{_CONTROL}/Session", bytes, bytes)
        return method.open(metadata=metadata)

    def _call(self, name: str, message: bytes) -> Awaitable[bytes]:
        method: Any = UnaryUnaryMethod(self._channel, f"{_CONTROL}/{name}", bytes, bytes)
        call: Awaitable[bytes] = method(message)
        return call
