"""Stores of content that a daemon reads over a session: layouts that builds start from.

Source: containerd's `content.proto`, BuildKit's `session/content`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.digest import Digest, parse_digest
from polyarch.errors import InvalidDigest, NotFound
from polyarch.images.layout import Layout
from polyarch.wire import Message, field

__all__ = ["info_method", "read_method"]

_STORE = "buildkit-attachable-store-id"
_CHUNK = 1 << 20

Call = Callable[[Any], Awaitable[None]]


def info_method(layouts: Mapping[str, Layout]) -> Call:
    """Return what answers `Content/Info`."""

    async def info(stream: Any) -> None:
        layout, message = await _asked(layouts, stream)
        with _blob(layout, message) as (digest, file):
            told = field(1, digest) + field(2, os.fstat(file.fileno()).st_size)
        await stream.send_message(field(1, told))

    return info


def read_method(layouts: Mapping[str, Layout]) -> Call:
    """Return what answers `Content/Read`: a part of a blob, in as many messages as it takes."""

    async def read(stream: Any) -> None:
        layout, message = await _asked(layouts, stream)
        loop = asyncio.get_running_loop()
        with _blob(layout, message) as (_digest, file):
            size = os.fstat(file.fileno()).st_size
            start, wanted = max(message.integer(2), 0), message.integer(3)
            if start > size:
                raise GRPCError(Status.OUT_OF_RANGE, f"read past object length {size} bytes")
            left = wanted if 0 < wanted < size - start else size - start
            file.seek(start)
            sent = 0
            while data := await loop.run_in_executor(None, file.read, min(_CHUNK, left - sent)):
                await stream.send_message(field(1, sent) + field(2, data))
                sent += len(data)

    return read


async def _asked(layouts: Mapping[str, Layout], stream: Any) -> tuple[Layout, Message]:
    message = Message(await stream.recv_message() or b"")
    name = str((stream.metadata or {}).get(_STORE, ""))
    if name not in layouts:
        raise GRPCError(Status.NOT_FOUND, f"unknown store {name}: not found")
    return layouts[name], message


@contextmanager
def _blob(layout: Layout, message: Message) -> Iterator[tuple[Digest, BinaryIO]]:
    try:
        digest = parse_digest(message.text(1))
        with layout.opened(digest) as file:
            yield digest, file
    except InvalidDigest as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
    except NotFound as error:
        raise GRPCError(Status.NOT_FOUND, str(error)) from error
