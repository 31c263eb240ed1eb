"""Containers of a build's gateway: what a daemon mounts for us, and the programs that it runs there.

Source: BuildKit's `gateway.proto`, `frontend/gateway/grpcclient/client.go`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError

from polyarch.platforms import Platform
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.talk import Talk
from polyarch.wire import Message, field, present

__all__ = ["Mount", "RemoteContainer", "RemoteProgram"]

_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge"
_BUILD_ID = "buildkit-controlapi-buildid"
_INIT, _FILE, _RESIZE, _STARTED, _EXIT, _DONE, _SIGNAL = range(2, 9)
_KILLED = 128 + 9
_LOOKS = 0.25
"""Seconds after which it is looked whether a terminal has another size: nothing tells of that."""


@frozen
class Mount:
    """What is mounted: a pb.Mount as it is written but for what it shows, and the result that it shows, "" for none."""

    message: bytes
    ref: str = ""


@frozen
class RemoteProgram:
    """A program that is to be run."""

    argv: Sequence[str]
    env: Sequence[str]
    cwd: str
    user: str


class RemoteContainer:
    """A container; all is called in the loop. What is raised is gRPC's."""

    def __init__(self, channel: Channel, build: str) -> None:
        self._channel = channel
        self._metadata = [(_BUILD_ID, build)]
        self._id = os.urandom(12).hex()

    async def open(self, mounts: Sequence[Mount], platform: Platform | None) -> None:
        """Have it made."""
        told = b"".join(field(2, each.message + field(23, each.ref)) for each in mounts)
        if platform is not None:
            words = (platform.architecture, platform.os, platform.variant)
            told += field(4, b"".join(field(n, word) for n, word in enumerate(words, 1)))
        await self._call("NewContainer", field(1, self._id) + told)

    async def release(self) -> None:
        """End it with all of its programs."""
        with suppress(GRPCError):  # what a program that was killed came to
            await self._call("ReleaseContainer", field(1, self._id))

    async def _call(self, name: str, message: bytes) -> None:
        method: Any = UnaryUnaryMethod(self._channel, f"{_SERVICE}/{name}", bytes, bytes)
        await method(message, metadata=self._metadata)

    async def run(
        self,
        program: RemoteProgram,
        talk: Talk,
        on_output: Callable[[int, bytes], None],
        cancel: CancelToken,
    ) -> int:
        """Run a program to its end, and return its status."""
        method: Any = StreamStreamMethod(self._channel, f"{_SERVICE}/ExecProcess", bytes, bytes)
        async with method.open(metadata=self._metadata) as stream:
            talking = _Talking(stream, talk)
            await talking.send(_INIT, self._init(program, talk))
            forget = cancel.on_cancel(talking.kill_soon)
            talking.begin()
            try:
                return await talking.listen(on_output)
            finally:
                forget()
                talking.end()

    def _init(self, program: RemoteProgram, talk: Talk) -> bytes:
        meta = b"".join(
            (
                *(field(1, each) for each in program.argv),
                *(field(2, each) for each in program.env),
                field(3, program.cwd),
                field(4, program.user),
            )
        )
        streams = b"".join(_number(3, each) for each in (0, 1, 2))
        has_terminal = int(talk.terminal is not None)
        return field(1, self._id) + field(2, meta) + streams + field(4, has_terminal)


def _number(number: int, value: int) -> bytes:
    # It is there even if it is 0.
    return bytes((number << 3, value))


class _Talking:
    """The talk with one program."""

    def __init__(self, stream: Any, talk: Talk) -> None:
        self._stream = stream
        self._talk = talk
        self._loop = asyncio.get_running_loop()
        self._id = os.urandom(12).hex()
        self._sending = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._reads = False
        self._is_over = False
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._pair: tuple[int, ...] = os.openpty() if talk.terminal is not None else ()

    async def send(self, kind: int, told: bytes) -> None:
        """Tell the daemon something."""
        async with self._sending:
            await self._stream.send_message(field(1, self._id) + present(kind, told))

    def begin(self) -> None:
        """Pass on keys and sizes from now on."""
        stdin, terminal = self._talk.stdin, self._talk.terminal
        if stdin is not None:
            self._loop.add_reader(stdin, self._read, stdin)
            self._reads = True
            self._tasks.append(asyncio.create_task(self._pass_keys()))
        if terminal is not None:
            master = self._pair[0]
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", *terminal, 0, 0))
            self._talk.on_terminal(master)
            self._tasks.append(asyncio.create_task(self._pass_sizes(master)))

    def _read(self, stdin: int) -> None:
        try:
            data = os.read(stdin, 1 << 15)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(stdin)
            self._reads = False
        self._typed.put_nowait(data)

    async def _pass_keys(self) -> None:
        while data := await self._typed.get():
            await self.send(_FILE, field(3, data))
        await self._end_input()

    async def _end_input(self) -> None:
        if not self._is_over:
            self._is_over = True
            await self.send(_FILE, field(2, 1))

    async def _pass_sizes(self, master: int) -> None:
        size = b""
        while True:
            found = fcntl.ioctl(master, termios.TIOCGWINSZ, bytes(8))
            if found != size:
                size = found
                rows, columns, _, _ = struct.unpack("4H", size)
                await self.send(_RESIZE, field(1, rows) + field(2, columns))
            await asyncio.sleep(_LOOKS)

    def kill_soon(self) -> None:
        """Have the program killed, from any thread."""

        def kill() -> None:
            sent = self.send(_SIGNAL, field(1, "SIGKILL"))
            self._tasks.append(asyncio.ensure_future(sent))

        self._loop.call_soon_threadsafe(kill)

    async def listen(self, on_output: Callable[[int, bytes], None]) -> int:
        """Take what it prints until it ends, and return its status."""
        status: int | None = None
        async for data in self._stream:
            message = Message(data)
            if message.all(_FILE):
                told = Message(message.bytes(_FILE))
                on_output(told.integer(1), told.bytes(3))
            elif message.all(_EXIT):
                status = Message(message.bytes(_EXIT)).integer(1)
                # BuildKit isn't done before its standard input is.
                await self._end_input()
            elif message.all(_DONE):
                break
        if status is None:
            # BuildKit says nothing of one that was killed before its container is released, which waits for this.
            await self._stream.cancel()
            return _KILLED
        await self._stream.end()
        return status

    def end(self) -> None:
        """Pass on nothing more."""
        if self._reads and self._talk.stdin is not None:
            self._loop.remove_reader(self._talk.stdin)
        for each in self._tasks:
            each.cancel()
        for descriptor in self._pair:
            os.close(descriptor)
