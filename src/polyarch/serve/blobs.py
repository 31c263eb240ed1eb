"""The store's blobs, and the logs of builds, for clients that read what records name.

Source: containerd's `content.proto`, of which listing and reading are answered.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from grpclib.const import Handler as Method
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.digest import Digest, parse_digest
from polyarch.engine.engine import Engine
from polyarch.errors import InvalidDigest
from polyarch.history.records import History
from polyarch.serve.calls import received, streamed, unary
from polyarch.wire import Message, field

__all__ = ["BlobCalls"]

_SERVICE = "/containerd.services.content.v1.Content/"
_CHUNK = 1 << 20


class BlobCalls:
    """Answers for one engine's store."""

    def __init__(self, engine: Engine) -> None:
        self._blobs = engine.store.blobs
        self._history = History(engine.store.root / "history")

    def __mapping__(self) -> dict[str, Method]:
        """Return the methods by their paths."""
        return {
            f"{_SERVICE}Info": unary(self._info),
            f"{_SERVICE}List": streamed(self._list),
            f"{_SERVICE}Read": streamed(self._read),
        }

    async def _list(self, stream: Any) -> None:
        """Tell of the blobs that records of builds name; filters of requests don't count."""
        await received(stream)
        await stream.send_initial_metadata()
        found = await asyncio.get_running_loop().run_in_executor(None, self._named)
        if found:
            told = (field(1, digest) + field(2, size) for digest, size in sorted(found.items()))
            await stream.send_message(b"".join(field(1, each) for each in told))

    def _named(self) -> dict[Digest, int]:
        return {
            each.digest: each.size
            for record in self._history.all()
            for each in record.descriptors()
        }

    async def _info(self, data: bytes, _metadata: Any) -> bytes:
        digest, path = self._find(Message(data).text(1))
        return field(1, field(1, digest) + field(2, path.stat().st_size))

    async def _read(self, stream: Any) -> None:
        message = Message(await received(stream) or b"")
        _, path = self._find(message.text(1))
        offset, left = message.integer(2), message.integer(3) or path.stat().st_size
        loop = asyncio.get_running_loop()
        with path.open("rb") as file:
            file.seek(offset)
            while left > 0 and (
                data := await loop.run_in_executor(None, file.read, min(left, _CHUNK))
            ):
                await stream.send_message(field(1, offset) + field(2, data))
                offset += len(data)
                left -= len(data)

    def _find(self, text: str) -> tuple[Digest, Path]:
        try:
            digest = parse_digest(text)
        except InvalidDigest as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        if self._blobs.has(digest):
            return digest, self._blobs.path(digest)
        for record in self._history.all():
            if record.logs is not None and record.logs.digest == digest:
                return digest, self._history.logs(record)
            kept = self._history.blob(record, digest)
            if kept.exists():
                return digest, kept
        raise GRPCError(Status.NOT_FOUND, f"content {text}: not found")
