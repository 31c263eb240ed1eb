"""Sessions: connections over which clients are asked for what a build needs of their machine.

A session is a call that the client makes; in its messages travels a connection in which we are the client.

Source: BuildKit's `session/manager.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.protocol import H2Protocol

from polyarch.buildkit.connection import BytesCodec
from polyarch.buildkit.tunnel import Tunnel
from polyarch.errors import RemoteError
from polyarch.serve.calls import received
from polyarch.wire import Message

__all__ = ["Session", "Sessions"]

_ID = "x-docker-expose-session-uuid"
_SHARED_KEY = "x-docker-expose-session-sharedkey"
_METHOD = "x-docker-expose-session-grpc-method"
_SECONDS = 30.0
"""How long a build waits for its client's session."""


class Session:
    """A client that can be asked: what it answers (`methods`, paths in lower case), over which channel.

    What calls raise is gRPC's.
    """

    def __init__(
        self, identifier: str, shared_key: str, methods: Iterable[str], tunnel: Tunnel
    ) -> None:
        self.id = identifier
        self.shared_key = shared_key
        self._methods = frozenset(map(str.lower, methods))
        self.channel = _InnerChannel(tunnel)

    def answers(self, path: str) -> bool:
        """Tell whether the client has a method."""
        return path.lower() in self._methods

    async def call(self, path: str, message: bytes) -> bytes:
        """Ask the client for something."""
        method: Any = UnaryUnaryMethod(self.channel, path, bytes, bytes)
        answer: bytes = await method(message)
        return answer

    def stream(
        self, path: str, metadata: Iterable[tuple[str, str]] = ()
    ) -> AbstractAsyncContextManager[Any]:
        """Open a stream of messages to the client and back."""
        method: Any = StreamStreamMethod(self.channel, path, bytes, bytes)
        opened: AbstractAsyncContextManager[Any] = method.open(metadata=list(metadata))
        return opened


class Sessions:
    """The sessions that there are, by their ids."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._changed = asyncio.Condition()
        self._empty = asyncio.Event()
        self._empty.set()

    async def carry(self, stream: Any) -> None:
        """Answer the call that a session is: it lasts until the client hangs up."""
        told = stream.metadata
        tunnel = Tunnel()
        session = Session(
            str(told.get(_ID, "")),
            str(told.get(_SHARED_KEY, "")),
            map(str, told.getall(_METHOD, ())),
            tunnel,
        )
        await stream.send_initial_metadata()
        await session.channel.__connect__()
        sender = asyncio.create_task(tunnel.pass_on(stream))
        await self._keep(session)
        try:
            while (message := await received(stream)) is not None:
                if data := Message(message).bytes(1):
                    session.channel.feed(data)
        finally:
            if self._sessions.get(session.id) is session:
                del self._sessions[session.id]
            sender.cancel()
            session.channel.lose()
            if not self._sessions:
                self._empty.set()

    async def _keep(self, session: Session) -> None:
        async with self._changed:
            self._sessions[session.id] = session
            self._empty.clear()
            self._changed.notify_all()

    async def gone(self) -> None:
        """Wait until there are none."""
        await self._empty.wait()

    async def find(self, identifier: str) -> Session:
        """Return a session, which may still be on its way. Raises RemoteError if it doesn't come."""
        # Of builds with several contexts the id may have a prefix.
        wanted = identifier.partition(":")[2] or identifier
        async with self._changed:
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._changed.wait_for(lambda: wanted in self._sessions)
            except TimeoutError as error:
                raise RemoteError(
                    f"no active session for {wanted}: context deadline exceeded"
                ) from error
            return self._sessions[wanted]


class _InnerChannel(Channel):
    """A channel whose connection is a tunnel; it can't be connected a second time."""

    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(path="/", codec=BytesCodec())
        self._tunnel = tunnel
        self._connection: H2Protocol | None = None

    async def _create_connection(self) -> H2Protocol:
        if self._connection is not None:
            raise ConnectionError("the client has ended its session")
        self._connection = self._protocol_factory()
        self._connection.connection_made(self._tunnel)
        return self._connection

    def feed(self, data: bytes) -> None:
        """Take what came."""
        assert self._connection is not None
        self._connection.data_received(data)

    def lose(self) -> None:
        """Let all calls end: the client has hung up."""
        self.close()
        assert self._connection is not None
        self._connection.connection_lost(None)
