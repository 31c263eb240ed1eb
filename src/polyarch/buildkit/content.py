"""Stores of content that a daemon reads and writes over a session: layouts that builds start from, caches in directories.

Source: containerd's `content.proto`, BuildKit's `session/content`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.digest import Digest, parse_digest
from polyarch.errors import InvalidDigest, NotFound
from polyarch.images.layout import Layout
from polyarch.oci.descriptor import Descriptor
from polyarch.wire import Message, field

__all__ = ["info_method", "read_method", "write_method"]

_STORE = "buildkit-attachable-store-id"
_CHUNK = 1 << 20
_STAT, _COMMIT = 0, 2

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


def write_method(layouts: Mapping[str, Layout]) -> Call:
    """Return what answers `Content/Write`: a blob that comes in pieces, each of which is answered."""

    async def write(stream: Any) -> None:
        layout, message = await _asked(layouts, stream)
        with tempfile.TemporaryFile() as file:
            writing = _Writing(layout, file)
            while True:
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(None, writing.take, message)
                await stream.send_message(answer)
                data = None if message.integer(1) == _COMMIT else await stream.recv_message()
                if data is None:
                    return
                message = Message(data)

    return write


class _Writing:
    """A blob on its way: it is in the layout once all of it has come, and is what its digest says."""

    def __init__(self, layout: Layout, file: BinaryIO) -> None:
        self._layout = layout
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0

    def take(self, message: Message) -> bytes:
        """Take a message and return the answer. Raises GRPCError, StoreError, IntegrityError."""
        action, expected = message.integer(1), message.text(4)
        if expected and self._has(expected):
            raise GRPCError(
                Status.ALREADY_EXISTS, f"blob with expected digest {expected}: already exists"
            )
        if action != _STAT:
            self._write(message)
        digest = Digest(f"sha256:{self._digest.hexdigest()}")
        if action == _COMMIT:
            if expected not in {"", digest}:
                raise GRPCError(
                    Status.FAILED_PRECONDITION, f"unexpected digest {digest}, expected {expected}"
                )
            self._commit(digest)
        return (
            field(1, action)
            + field(4, self._size)
            + field(5, message.integer(3))
            + field(6, digest)
        )

    def _has(self, expected: str) -> bool:
        try:
            with self._layout.opened(parse_digest(expected)):
                return True
        except NotFound:
            return False
        except InvalidDigest as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error

    def _write(self, message: Message) -> None:
        offset = message.integer(5)
        if offset == 0 and self._size:
            self._file.seek(0)
            self._file.truncate()
            self._digest, self._size = hashlib.sha256(), 0
        if offset != self._size:
            raise GRPCError(
                Status.OUT_OF_RANGE,
                f"write @{offset} must occur at current offset {self._size}",
            )
        data = message.bytes(6)
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def _commit(self, digest: Digest) -> None:
        self._file.flush()
        blob = Descriptor(media_type="", digest=digest, size=self._size)
        self._layout.add_file(blob, self._file)


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
