"""`ExecProcess`: one stream over which a client starts programs in containers, talks with them, and hears how they end.

Source: BuildKit's `gateway.proto`, `frontend/gateway/gateway.go`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.progress import CancelToken
from polyarch.request.talk import Talk
from polyarch.runtime.base import Ended
from polyarch.serve.calls import error_of, received
from polyarch.serve.containers import Held
from polyarch.wire import Message, field, present

__all__ = ["Programs"]

_INIT, _FILE, _RESIZE, _STARTED, _EXIT, _DONE, _SIGNAL = range(2, 9)
_INPUT = 0
_USUAL_SIZE = (24, 80)
_UNKNOWN = 255
"""The status of a program of which nobody knows how it ended."""


class Programs:
    """The programs of one stream."""

    def __init__(
        self, stream: Any, find: Callable[[str], Held], threads: ThreadPoolExecutor
    ) -> None:
        self._stream = stream
        self._find = find
        self._threads = threads
        self._programs: dict[str, _Program] = {}
        self._sending = asyncio.Lock()

    async def carry(self) -> None:
        """Do what the client says, until it has nothing more to say and all programs have ended. Raises GRPCError."""
        tasks = []
        try:
            while (data := await received(self._stream)) is not None:
                message = Message(data)
                name = message.text(1)
                if not name:
                    raise GRPCError(Status.INVALID_ARGUMENT, "ProcessID required")
                if message.all(_INIT):
                    program = self._begin(name, Message(message.bytes(_INIT)))
                    tasks.append(asyncio.create_task(program.carry()))
                elif name in self._programs:
                    self._programs[name].hear(message)
                else:
                    raise GRPCError(Status.NOT_FOUND, f'IO for process "{name}" not found')
            for each in self._programs.values():
                each.end_input()
            await asyncio.gather(*tasks)
        finally:
            for each in self._programs.values():
                each.cancel.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, name: str, message: Message) -> _Program:
        if name in self._programs:
            raise GRPCError(Status.ALREADY_EXISTS, f"Process {name} already exists")
        held = self._find(message.text(1))

        async def send(kind: int, told: bytes) -> None:
            async with self._sending:
                await self._stream.send_message(field(1, name) + present(kind, told))

        program = _Program(held, message, send, self._threads)
        self._programs[name] = program
        return program


class _Program:
    """One program: what it hears, and what is told of it."""

    def __init__(
        self,
        held: Held,
        message: Message,
        send: Callable[[int, bytes], Coroutine[Any, Any, None]],
        threads: ThreadPoolExecutor,
    ) -> None:
        self.cancel = CancelToken()
        self._held = held
        self._message = message
        self._send = send
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._streams = message.integers(3)
        self._size = _USUAL_SIZE
        self._process = self._terminal = -1
        self._signals: list[signal.Signals] = []
        self._is_first = held.claim()
        self._is_started = False
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()

    def hear(self, message: Message) -> None:
        """Take what the client says to it. Raises GRPCError."""
        if message.all(_FILE):
            told = Message(message.bytes(_FILE))
            if data := told.bytes(3):
                self._heard.put_nowait(data)
            if told.integer(2):
                self.end_input()
        elif message.all(_RESIZE):
            told = Message(message.bytes(_RESIZE))
            self._size = (told.integer(1), told.integer(2))
            self._resize()
        elif message.all(_SIGNAL):
            self._signal(Message(message.bytes(_SIGNAL)).text(1))

    def end_input(self) -> None:
        """Note that it hears no more."""
        self._heard.put_nowait(None)

    async def carry(self) -> None:
        """Run it, and tell the client of it: that it has started, what it prints, and how it ended."""
        reader, writer = os.pipe() if _INPUT in self._streams else (-1, -1)
        feeding = asyncio.create_task(self._feed(writer))
        if not self._is_first:
            # At once, as the daemon does: clients may wait for it before they take what others have printed.
            await self._start()
        try:
            code, error = await self._end(reader)
        finally:
            self._process = self._terminal = -1
            if reader >= 0:
                os.close(reader)
            self._heard.put_nowait(None)
            await feeding
        await self._start()
        for number in self._streams:
            if number != _INPUT:
                await self._send(_FILE, field(1, number) + field(2, True))
        await self._send(_EXIT, field(1, code) + field(2, error))
        await self._send(_DONE, b"")

    async def _end(self, reader: int) -> tuple[int, bytes]:
        """Run it; return its status, and what is told of one that isn't 0: a Status of Google's."""
        try:
            ended = await self._loop.run_in_executor(self._threads, self._run, reader)
        except Exception as error:  # noqa: BLE001 the client is told, whatever it is
            return _UNKNOWN, self._failed(error_of(error))
        if not ended.status:
            return 0, b""
        why = ended.refused or f"exit code: {ended.status}"
        return ended.status, self._failed(GRPCError(Status.UNKNOWN, why))

    def _failed(self, error: GRPCError) -> bytes:
        self._held.note(error)
        return field(1, error.status.value) + field(2, error.message or "")

    def _run(self, reader: int) -> Ended:
        talk = Talk(
            stdin=reader if reader >= 0 else None,
            terminal=self._size if self._message.integer(4) else None,
            on_terminal=self._note_terminal,
            on_started=self._note_process,
        )
        op = self._held.told.program(self._message)
        return self._held.run(op, talk, self._print, self.cancel, is_first=self._is_first)

    # --- in the program's thread ---

    def _print(self, number: int, data: bytes) -> None:
        if number in self._streams:
            self._wait(self._send(_FILE, field(1, number) + field(3, data)))

    def _note_process(self, process: int) -> None:
        self._process = process
        self._wait(self._start())
        self._loop.call_soon_threadsafe(self._send_signals)

    def _note_terminal(self, terminal: int) -> None:
        self._terminal = terminal
        self._resize()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something sent before the program goes on, so that one that prints much waits for a slow client."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        forget = self.cancel.on_cancel(lambda: _forget(future))
        # Who can't be told any more has it end.
        with suppress(Exception):
            future.result()
        forget()

    # --- in the loop ---

    async def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            await self._send(_STARTED, b"")

    async def _feed(self, writer: int) -> None:
        """Write what it hears, until that is at its end or nobody reads any more."""
        try:
            while (data := await self._heard.get()) is not None:
                if writer >= 0:
                    await self._loop.run_in_executor(self._threads, _write, writer, data)
        except OSError:
            pass
        finally:
            if writer >= 0:
                os.close(writer)

    def _resize(self) -> None:
        if self._terminal >= 0:
            size = struct.pack("4H", *self._size, 0, 0)
            with suppress(OSError, struct.error):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def _signal(self, name: str) -> None:
        number = getattr(signal, f"SIG{name.removeprefix('SIG')}", None)
        if not isinstance(number, signal.Signals):
            raise GRPCError(Status.INVALID_ARGUMENT, f"Unknown signal {name}")
        self._signals.append(number)
        self._send_signals()

    def _send_signals(self) -> None:
        if self._process < 0:
            return  # it gets them when it is there
        for number in self._signals:
            with suppress(OSError):
                signal.pidfd_send_signal(self._process, number)
        self._signals.clear()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _forget(future: Future[None]) -> None:
    future.cancel()
