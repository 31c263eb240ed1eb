"""A connection that is carried in the messages of a stream: sessions are, in either direction.

Source: BuildKit's `session/grpchijack`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from polyarch.wire import field

__all__ = ["Tunnel"]

_LARGEST = 1 << 20
"""Bytes of a message; gRPC in Go takes 4 MiB."""


class Tunnel(asyncio.Transport):
    """The lower end of the inner connection: what it writes is queued for the stream."""

    def __init__(self) -> None:
        super().__init__()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._is_closed = False

    async def pass_on(self, stream: Any) -> None:
        """Send what is written over a stream of messages of bytes, until the task is cancelled."""
        while True:
            data = await self._outgoing.get()
            while not self._outgoing.empty() and len(data) < _LARGEST:
                data += self._outgoing.get_nowait()
            for start in range(0, len(data), _LARGEST):
                await stream.send_message(field(1, data[start : start + _LARGEST]))

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
