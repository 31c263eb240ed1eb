"""What is left of a connection to Docker's engine once it isn't HTTP any more: bytes, in both directions.

What a program in a container prints comes in frames, its two streams mixed:

    1 byte      1: standard output, 2: standard error
    3 bytes     nothing
    4 bytes     the length of what follows, big-endian

Source: Docker Engine API, "Attach to a container".
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from threading import Thread

from polyarch.errors import MachineError
from polyarch.http.connection import Upgraded

__all__ = ["Frames", "piped", "read_streams"]

_PIECE = 1 << 16
_HEAD = 8
_OUTPUT = 1
_MOST = 1 << 20
"""Bytes of what a program that is run for its answer may print."""

Filter = Callable[[bytes], bytes]
"""What of the bytes from the far end goes on to the near one."""


class Frames:
    """Takes frames apart as they come. Raises MachineError for what are none."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def split(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Give what was printed, each piece with the number of its stream."""
        self._waiting += data
        while len(self._waiting) >= _HEAD:
            stream, size = self._waiting[0], int.from_bytes(self._waiting[4:_HEAD])
            if stream > 2 or any(self._waiting[1:4]):
                raise MachineError("the docker engine sent what is no frame of a program's output")
            if len(self._waiting) < _HEAD + size:
                return
            yield stream, bytes(self._waiting[_HEAD : _HEAD + size])
            del self._waiting[: _HEAD + size]

    def output(self, data: bytes) -> bytes:
        """Return what was printed on standard output."""
        return b"".join(piece for stream, piece in self.split(data) if stream == _OUTPUT)


def piped(far: Upgraded, pick: Filter, held: ExitStack) -> socket.socket:
    """Return a socket that leads to the far end; `held` is closed when either of both has hung up.

    So gRPC has a plain socket, whether the way there is TLS, or through a program.
    """
    ours, theirs = socket.socketpair()

    def carry() -> None:
        # Whoever has the other end learns of all trouble by its end.
        with held, theirs, suppress(OSError, MachineError):
            _carry(far, theirs, pick)

    # It ends with either connection, which whoever is interrupted may leave to the end of the process.
    Thread(target=carry, name="pipe", daemon=True).start()
    return ours


def _carry(far: Upgraded, near: socket.socket, pick: Filter) -> None:
    near.sendall(pick(far.first))
    while True:
        ready, _, _ = select.select([far.socket, near], [], [])
        if near in ready:
            data = near.recv(_PIECE)
            if not data:
                return
            far.socket.setblocking(True)
            far.socket.sendall(data)
            far.socket.setblocking(False)
        if far.socket in ready and not _take_all(far, near, pick):
            return


def _take_all(far: Upgraded, near: socket.socket, pick: Filter) -> bool:
    """Pass on what has come, all of it: what TLS has read of a socket already, no `select` tells of."""
    while True:
        try:
            data = far.socket.recv(_PIECE)
        except far.says_nothing:
            return True
        if not data:
            return False
        near.sendall(pick(data))


def read_streams(far: Upgraded) -> tuple[bytes, bytes]:
    """Return all that a program prints on its two streams until it ends. Raises OSError, MachineError."""
    found = {0: bytearray(), 1: bytearray(), 2: bytearray()}
    frames, data = Frames(), far.first
    far.socket.setblocking(True)
    while True:
        for stream, piece in frames.split(data):
            found[stream] += piece
        data = far.socket.recv(_PIECE)
        if not data:
            return bytes(found[1]), bytes(found[2])
        if sum(map(len, found.values())) > _MOST:
            raise MachineError("a program in a container doesn't stop printing")
