"""Messages over a stream socket: JSON, its length before it; and sockets handed over one.

    caller                                    engine
      │── control: a socket per build ─────────▶ │     ends: the engine ends
      │◀─ control: ready, or why not ─────────── │
      │── a build's socket: the request ───────▶ │     ends (half): the build is cancelled
      │◀─ a build's socket: events, answer ───── │     ends without an answer: the engine is gone

A socket ends with the process that holds it, however that ends, so neither side outlives the other.
As each build has its own, a slow taker of events slows down its own build only.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from polyarch.errors import InternalError

__all__ = ["Channel", "Message", "channel_pair"]

Message = Mapping[str, object]
"""A JSON object."""

_HEADER = struct.Struct("!I")
_CHUNK = 1 << 20
_HEEDED = 500
"""After how many milliseconds, at the latest, a main thread that waits runs the handlers of signals."""


class Channel:
    """One end. Sending and receiving may be done by two threads at a time; each by one only."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message. Raises OSError if the other side is gone."""
        # ASCII: file names that are no UTF-8 travel as escaped surrogates.
        data = json.dumps(message, separators=(",", ":")).encode("ascii")
        self._socket.sendall(_HEADER.pack(len(data)) + data)

    def receive(self) -> Message | None:
        """Wait for the next message; None if there are no more. Raises InternalError."""
        header = self._read(_HEADER.size)
        data = self._read(*_HEADER.unpack(header)) if header is not None else None
        if data is None:
            return None
        try:
            message = json.loads(data)
        except ValueError as error:
            raise InternalError("a message is no JSON") from error
        if not isinstance(message, dict):
            raise InternalError(f"a message is a {type(message).__name__}")
        return message

    def _read(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            part = self._receive(min(size - len(data), _CHUNK))
            if not part:
                return None
            data += part
        return bytes(data)

    def _receive(self, size: int) -> bytes:
        """Wait for some bytes; none if no more will come."""
        try:
            _wait_for(self._socket)
            return self._socket.recv(size)
        except ConnectionResetError:
            return b""

    def drain(self) -> None:
        """Wait until no more will come; what does come is thrown away, even half a message."""
        while self._receive(_CHUNK):
            pass

    def hand_over(self, end: Channel) -> None:
        """Give the other side an end of another channel; ours is closed. Raises OSError."""
        with end:
            socket.send_fds(self._socket, [b"+"], [end.fileno()])

    def take_over(self) -> Channel | None:
        """Wait for an end of another channel; None if there are no more."""
        try:
            flags = socket.MSG_CMSG_CLOEXEC
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1, flags)
        except ConnectionResetError:
            return None
        if not data or not descriptors:
            return None
        return Channel(socket.socket(fileno=descriptors[0]))

    def end(self) -> None:
        """Tell the other side that no more will come; what it sends can still be received."""
        # May come from a thread that doesn't know that the channel was closed.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        """End both ways, and wake up who waits in `receive`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()


def _wait_for(end: socket.socket) -> None:
    """Wait until something can be read; in the main thread such that a Ctrl-C is heeded soon.

    Python only notes a signal as it comes, and runs its handler between two instructions of the main thread.
    If it comes to another thread, or just before the main thread enters the kernel to wait, the kernel
    interrupts nothing, and the Ctrl-C would be heeded when the next message has come: in a step that prints
    nothing, never. (`signal.set_wakeup_fd` would tell, but there is one, which belongs to the program.)
    """
    if threading.current_thread() is threading.main_thread():
        poll = select.poll()
        poll.register(end, select.POLLIN)
        while not poll.poll(_HEEDED):
            pass


def channel_pair() -> tuple[Channel, Channel]:
    """Return both ends of a new channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), Channel(theirs)
