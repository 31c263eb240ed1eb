"""A session: what a daemon asks us for while it builds.

The daemon is the client there. Its connection, HTTP/2 and gRPC once more, travels in messages of bytes over one stream
of ours, so that no port has to be open here.

Source: BuildKit's `session` package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from grpclib.config import Configuration
from grpclib.const import Handler as Method
from grpclib.events import _DispatchServerEvents
from grpclib.protocol import H2Protocol
from grpclib.server import Handler
from h2.config import H2Configuration

from polyarch.buildkit.api import Api
from polyarch.buildkit.connection import BytesCodec
from polyarch.buildkit.messages import Message
from polyarch.wire import field

__all__ = ["run_session"]

_ID = "x-docker-expose-session-uuid"
_SHARED_KEY = "x-docker-expose-session-sharedkey"
_METHOD = "x-docker-expose-session-grpc-method"
_LARGEST = 1 << 20
"""Bytes of a message; gRPC in Go takes 4 MiB."""


async def run_session(
    api: Api, identifier: str, shared_key: str, methods: Mapping[str, Method], ready: asyncio.Event
) -> None:
    """Answer a daemon's calls until it ends the session, or the task is cancelled; `ready` is set when it may begin.

    `methods` are what it may call, by their paths.
    """
    metadata = [(_ID, identifier), (_SHARED_KEY, shared_key)]
    metadata += [(_METHOD, path) for path in methods]
    async with api.session(metadata) as stream:
        await stream.send_request()
        outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        transport = _Tunnel(outgoing)
        handler = Handler(dict(methods), BytesCodec(), None, _DispatchServerEvents())
        config = H2Configuration(client_side=False, header_encoding="ascii")
        protocol = H2Protocol(handler, Configuration().__for_server__(), config)
        protocol.connection_made(transport)
        sender = asyncio.create_task(_send(stream, outgoing))
        ready.set()
        try:
            async for message in stream:
                if data := Message(message).bytes(1):
                    protocol.data_received(data)
        finally:
            sender.cancel()
            protocol.connection_lost(None)


async def _send(stream: Any, outgoing: asyncio.Queue[bytes]) -> None:
    while True:
        data = await outgoing.get()
        while not outgoing.empty() and len(data) < _LARGEST:
            data += outgoing.get_nowait()
        for start in range(0, len(data), _LARGEST):
            await stream.send_message(field(1, data[start : start + _LARGEST]))


class _Tunnel(asyncio.Transport):
    """The lower end of the inner connection: what it writes is queued for the stream."""

    def __init__(self, outgoing: asyncio.Queue[bytes]) -> None:
        super().__init__()
        self._outgoing = outgoing
        self._is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; flow is controlled by HTTP/2's windows."""
        if data and not self._is_closed:
            self._outgoing.put_nowait(bytes(data))

    def is_closing(self) -> bool:
        """Whether no more is written."""
        return self._is_closed

    def close(self) -> None:
        """Write no more."""
        self._is_closed = True

    def abort(self) -> None:
        """Write no more."""
        self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return nothing: there is no socket."""
        del name
        return default

    def pause_reading(self) -> None:
        """Go on: what comes is in memory already."""

    def resume_reading(self) -> None:
        """Go on."""
