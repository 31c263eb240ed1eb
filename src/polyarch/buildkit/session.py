"""A session: what a daemon asks us for while it builds.

The daemon is the client there. Its connection, HTTP/2 and gRPC once more, travels in messages of bytes over one stream
of ours, so that no port has to be open here.

Source: BuildKit's `session` package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from grpclib.config import Configuration
from grpclib.const import Handler as Method
from grpclib.events import _DispatchServerEvents
from grpclib.protocol import H2Protocol
from grpclib.server import Handler
from h2.config import H2Configuration

from polyarch.buildkit.api import Api
from polyarch.buildkit.connection import BytesCodec
from polyarch.buildkit.tunnel import Tunnel
from polyarch.wire import Message

__all__ = ["run_session"]

_ID = "x-docker-expose-session-uuid"
_SHARED_KEY = "x-docker-expose-session-sharedkey"
_METHOD = "x-docker-expose-session-grpc-method"


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
        transport = Tunnel()
        handler = Handler(dict(methods), BytesCodec(), None, _DispatchServerEvents())
        config = H2Configuration(client_side=False, header_encoding="ascii")
        protocol = H2Protocol(handler, Configuration().__for_server__(), config)
        protocol.connection_made(transport)
        sender = asyncio.create_task(transport.pass_on(stream))
        ready.set()
        try:
            async for message in stream:
                if data := Message(message).bytes(1):
                    protocol.data_received(data)
        finally:
            sender.cancel()
            protocol.connection_lost(None)
