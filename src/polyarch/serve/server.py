"""The server: it answers at an address, or over standard input and output, until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from grpclib.const import Handler as Method
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from polyarch.buildkit.connection import BytesCodec
from polyarch.engine.engine import Engine
from polyarch.errors import InputError
from polyarch.record import frozen
from polyarch.serve.address import Address, Certificates, context_of, listen
from polyarch.serve.blobs import BlobCalls
from polyarch.serve.building import Answers, Builds
from polyarch.serve.calls import Details, Methods, unary
from polyarch.serve.contexts import KeptDirectories
from polyarch.serve.control import Control
from polyarch.serve.ending import Ending
from polyarch.serve.gateway import Gateways
from polyarch.serve.promises import Promises
from polyarch.serve.worker import Worker
from polyarch.wire import field

__all__ = ["Answering", "Served", "answering", "serve"]

_MOST_BUILDS = 512
"""Threads that builds are done in; more builds than that wait for one."""
_SERVING = field(1, 1)


@frozen
class Served:
    """What is served, and where. `on_ready` is told the address as soon as clients may come.

    `allowed` are the kinds of entitlements that clients may ask for, None for all.
    """

    engine: Engine
    address: Address
    certificates: Certificates
    answers: Answers
    on_ready: Callable[[str], None] = lambda _: None
    allowed: frozenset[str] | None = None


def serve(served: Served) -> None:
    """Answer until a signal says to end, or until the only client of standard input has gone.

    After SIGTERM the builds of a socket's clients that are under way may end first; a second one ends them.

    Raises MachineError, InputError.
    """
    # A client that hangs up isn't worth a message.
    logging.getLogger("grpclib").addHandler(logging.NullHandler())
    logging.getLogger("grpclib").propagate = False
    asyncio.run(_serve(served))


async def _serve(served: Served) -> None:
    ending = Ending()
    ending.heed_signals()
    async with answering(served.engine, served.answers, served.allowed) as answers:
        if served.address == Address():
            await _over_pipes(answers.server, ending)
        else:
            await _at_socket(answers, served, ending)


@frozen
class Answering:
    """A server, and the calls of it that know of its builds."""

    server: Server
    control: Control


@asynccontextmanager
async def answering(
    engine: Engine, answers: Answers, allowed: frozenset[str] | None = None
) -> AsyncIterator[Answering]:
    """Yield a server that answers for an engine once it is started; builds end with the block."""
    loop = asyncio.get_running_loop()
    builds = Builds(
        engine=engine,
        kept=KeptDirectories(engine.store),
        promises=Promises(),
        loop=loop,
        threads=ThreadPoolExecutor(_MOST_BUILDS, "build"),
        answers=answers,
        allowed=allowed,
    )
    worker = Worker(engine)
    gateways = Gateways(builds, worker.told)
    control = Control(engine, builds, gateways, worker)
    handlers: list[Any] = [control, gateways, BlobCalls(engine), _Health()]
    try:
        server = Server(handlers, codec=BytesCodec(), status_details_codec=Details())
        server._mapping = Methods(server._mapping)  # noqa: SLF001 what it says of other methods isn't gRPC's
        yield Answering(server=server, control=control)
    finally:
        await loop.run_in_executor(None, control.close)


async def _at_socket(answers: Answering, served: Served, ending: Ending) -> None:
    server, tls = answers.server, context_of(served.certificates)
    listening = listen(served.address)
    try:
        await server.start(sock=listening, ssl=tls)
        served.on_ready(str(served.address))
        await ending.wait()
        await ending.unless_at_once(answers.control.finish())
        server.close()
        await server.wait_closed()
    finally:
        listening.close()
        if served.address.path:
            with suppress(FileNotFoundError):
                os.unlink(served.address.path)


async def _over_pipes(server: Server, ending: Ending) -> None:
    """Answer the client at the other end of standard input and output."""
    loop = asyncio.get_running_loop()
    # What anything else may print must not come between.
    output = os.dup(1)
    os.dup2(2, 1)
    protocol = _Only(server._protocol_factory(), ending)  # noqa: SLF001 the library listens at sockets only
    try:
        if stat.S_ISSOCK(os.fstat(0).st_mode):
            os.close(output)
            await loop.connect_accepted_socket(lambda: protocol, socket.socket(fileno=os.dup(0)))
        else:
            writing, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(output, "wb", 0))
            protocol.inner.connection_made(_Both(writing))
            source = os.fdopen(os.dup(0), "rb", 0)
            await loop.connect_read_pipe(lambda: protocol, source)
    except (ValueError, OSError) as error:
        raise InputError(
            "standard input and output must be pipes or a socket",
            hint="ssh HOST polyarch dial-stdio, as clients call it",
        ) from error
    await ending.wait()


class _Only(asyncio.Protocol):
    """The only connection that there is: the server ends with it."""

    def __init__(self, inner: H2Protocol, ending: Ending) -> None:
        self.inner = inner
        self._ending = ending
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of two pipes neither is the connection.
        if isinstance(transport, asyncio.Transport):
            self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.inner.data_received(data)

    def connection_lost(self, error: BaseException | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._ending.insist()
            self.inner.connection_lost(error)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


class _Both(asyncio.Transport):
    """Standard output as the lower end of a connection."""

    def __init__(self, writing: asyncio.WriteTransport) -> None:
        super().__init__()
        self._writing = writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._writing.write(data)

    def is_closing(self) -> bool:
        return self._writing.is_closing()

    def close(self) -> None:
        self._writing.close()

    def abort(self) -> None:
        self._writing.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _Health:
    """Says that all is well, to those who ask before they call."""

    def __mapping__(self) -> dict[str, Method]:
        return {"/grpc.health.v1.Health/Check": unary(self._check)}

    async def _check(self, _data: bytes, _metadata: Any) -> bytes:
        return _SERVING
