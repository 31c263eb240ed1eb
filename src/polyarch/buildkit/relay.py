"""A client at our standard input and output -> a daemon at any address that a builder may have, byte by byte.

Source: docker buildx, `commands/dial_stdio.go`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import BinaryIO

from polyarch.buildkit.address import Target
from polyarch.buildkit.connection import open_bytes
from polyarch.errors import InputError

__all__ = ["relay"]

_CHUNK = 1 << 16
_Client = tuple[asyncio.StreamReader, Callable[[bytes], Awaitable[None]]]
"""What a client asks, and what tells it something."""


def relay(target: Target, source: int = 0, sink: int = 1) -> None:
    """Pass on what comes from `source`, and to `sink` what the daemon answers, until it ends.

    Both are descriptors, of pipes or of one socket. Raises InputError for others, MachineError, OSError.
    """
    asyncio.run(_relay(target, source, sink))


async def _relay(target: Target, source: int, sink: int) -> None:
    async with open_bytes(target) as there:
        opened = _at_socket if stat.S_ISSOCK(os.fstat(source).st_mode) else _at_pipes
        async with opened(source, sink) as (asked, tell):
            telling = asyncio.create_task(_ask(asked, there[1]))
            try:
                while data := await there[0].read(_CHUNK):
                    await tell(data)
            finally:
                telling.cancel()


async def _ask(asked: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
    while data := await asked.read(_CHUNK):
        there.write(data)
        await there.drain()
    # TLS has no half-closed connections.
    if there.can_write_eof():
        there.write_eof()
    else:
        there.close()


def _write(here: BinaryIO, data: bytes) -> None:
    here.write(data)
    here.flush()


@asynccontextmanager
async def _at_socket(source: int, _sink: int) -> AsyncIterator[_Client]:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=os.dup(source)))

    async def tell(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        yield reader, tell
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def _at_pipes(source: int, sink: int) -> AsyncIterator[_Client]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()

    async def tell(data: bytes) -> None:
        await loop.run_in_executor(None, _write, here, data)

    with os.fdopen(os.dup(source), "rb", 0) as asked, os.fdopen(os.dup(sink), "wb") as here:
        try:
            reading, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), asked
            )
        except ValueError as error:
            raise InputError(
                "standard input and output must be pipes or a socket",
                hint="the command is for programs that speak BuildKit's API",
            ) from error
        try:
            yield reader, tell
        finally:
            reading.close()
