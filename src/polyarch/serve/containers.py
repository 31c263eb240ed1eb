"""Containers of a gateway: what a client's program has mounted, and has its programs run in, until it lets go of them.

A container is opened in a thread of its own, which waits there until it is to be closed.

Source: BuildKit's `gateway.proto`, `frontend/gateway/container/container.go`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.buildkit.llb.numbers import EXEC
from polyarch.digest import sha256
from polyarch.errors import InputError
from polyarch.graph.op import ExecOp, ScratchOp
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.oci.base import DEFAULT_PATH
from polyarch.platforms import Platform, host
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.talk import Talk
from polyarch.runtime.base import Ended, OnOutput
from polyarch.serve.llb.definition import Op, platform_of
from polyarch.serve.llb.execs import ExecReader
from polyarch.wire import Message, field
from polyarch.worker.container import Container

__all__ = ["Containers", "Held", "Told"]

_WINDOWS_PATH = r"c:\Windows\System32;c:\Windows;C:\Windows\System32\WindowsPowerShell\v1.0"
_ROOT = field(2, field(3, "/"))


@frozen
class Told:
    """What is said of a container's programs when it is made: a platform, and a part of an ExecOp and of its Meta."""

    platform: Platform
    execs: ExecReader
    operation: bytes = b""
    meta: bytes = b""
    path: str = DEFAULT_PATH

    @classmethod
    def of(cls, message: Message, execs: ExecReader) -> Told:
        """Read a NewContainerRequest."""
        told = Message(message.bytes(4))
        hosts = b"".join(field(6, each) for each in message.all(6))
        return cls(
            platform=_platform(told),
            execs=execs,
            operation=field(3, message.integer(3)),
            meta=hosts + field(7, message.text(7)),
            path=_WINDOWS_PATH if told.text(2) == "windows" else DEFAULT_PATH,
        )

    @property
    def first(self) -> bytes:
        """What an ExecOp says beside its mounts, without any program."""
        return self.operation + field(1, self.meta)

    def _env(self, meta: Message, *, has_terminal: bool) -> list[str]:
        """Return the variables of a program, with those that every one has."""
        env = list(meta.texts(2))
        for name, value in (("PATH", self.path), ("TERM", "xterm" if has_terminal else "")):
            if value and not any(each.startswith(f"{name}=") for each in env):
                env.append(f"{name}={value}")
        return env

    def program(self, message: Message) -> ExecOp:
        """Return what an InitMessage wants to be run. Raises InputError."""
        meta = Message(message.bytes(2))
        env = self._env(meta, has_terminal=bool(message.integer(4)))
        text = b"".join(
            (
                *(field(1, each) for each in meta.texts(1)),
                *(field(2, each) for each in env),
                field(3, meta.text(3) or "/"),
                field(4, meta.text(4)),
                self.meta,
            )
        )
        operation = b"".join(
            (
                field(1, text),
                _ROOT,
                self.operation,
                field(4, message.integer(5)),
                *(field(5, each) for each in message.all(6)),
            )
        )
        for secret in Message(operation).messages(5):
            if not secret.text(1):
                raise InputError(f"secret ID missing for {secret.text(2)!r} environment variable")
        if not meta.texts(1):
            raise InputError("a program needs at least its name")
        op = Op(
            digest=sha256(operation),
            kind=EXEC,
            message=Message(operation),
            inputs=(),
            platform=self.platform,
        )
        made, _, _ = self.execs.read(op, (), _nothing, _nothing)
        return made


def _nothing(_number: int) -> Vertex:
    """Stand for the root that the container has already."""
    return make_vertex(ScratchOp())


def _platform(told: Message) -> Platform:
    """Return the platform of a container; only Linux's programs run here, whatever its variables are to be."""
    if told.text(2) not in {"", "linux"} or not told.text(1):
        return host()
    return platform_of(told)


class Held:
    """A container that is held open until it is released, and the programs that run in it."""

    def __init__(
        self,
        told: Told,
        targets: Sequence[str],
        opening: Callable[[CancelToken], AbstractContextManager[Container]],
    ) -> None:
        """Have a container; `targets` are where things are mounted, in the order in which they were asked for."""
        self.told = told
        self.cancel = CancelToken()
        self._targets = targets
        self._opening = opening
        self._container: Container | None = None
        self._released = threading.Event()
        self._lock = threading.Condition()
        self._programs = 0
        self.failure: GRPCError | None = None
        """What the first program to fail came to, which who lets go of the container is told."""
        self._has_first = False

    def hold(self, on_open: Callable[[], None]) -> None:
        """Open the container, say so, and close it when it is released and nothing runs in it. Raises what opening it raises."""
        with self._opening(self.cancel) as container:
            self._container = container
            on_open()
            self._released.wait()
            with self._lock:
                self._lock.wait_for(lambda: not self._programs)

    def release(self) -> None:
        """End all programs, and have the container closed."""
        self.cancel.cancel()
        self._released.set()

    def claim(self) -> bool:
        """Say whether the program that is asked for now is the first one. In the loop only."""
        is_first, self._has_first = not self._has_first, True
        return is_first

    def note(self, error: GRPCError) -> None:
        """Note what a program that failed came to. In the loop only."""
        self.failure = self.failure or error

    def run(
        self,
        op: ExecOp,
        talk: Talk,
        on_output: OnOutput,
        cancel: CancelToken,
        *,
        is_first: bool,
    ) -> Ended:
        """Run a program to its end. Raises as `Container.run`."""
        assert self._container is not None
        with self._lock:
            self.cancel.check()
            self._programs += 1
        forget = self.cancel.on_cancel(cancel.cancel)
        try:
            return self._container.run(op, talk, on_output, cancel, is_first=is_first)
        finally:
            forget()
            with self._lock:
                self._programs -= 1
                self._lock.notify_all()

    def tree(self, index: int) -> Path:
        """Return the files of a mount, by its number. Raises InputError, NotFound."""
        assert self._container is not None
        if not 0 <= index < len(self._targets):
            raise InputError(
                f"mount index {index} is out of bounds ({len(self._targets)} available)"
            )
        return self._container.tree(self._targets[index])


class Containers:
    """The containers of one gateway. In the loop only."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._held: dict[str, Held] = {}
        self._holding: dict[str, asyncio.Future[None]] = {}

    async def open(self, name: str, held: Held) -> None:
        """Open a container. Raises GRPCError for a name that there is, and what opening it raises."""
        if name in self._holding:
            raise GRPCError(Status.ALREADY_EXISTS, f"Container {name} already exists")
        loop = asyncio.get_running_loop()
        opened = asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(opened.set)

        holding = loop.run_in_executor(self._threads, held.hold, tell)
        self._holding[name] = holding
        holding.add_done_callback(lambda _: opened.set())
        try:
            await opened.wait()
        finally:
            if holding.done() or not opened.is_set():
                held.release()
                del self._holding[name]
        if holding.done():
            await holding  # raises what kept it from being opened
        self._held[name] = held

    def find(self, name: str) -> Held:
        """Return a container. Raises GRPCError if there is none."""
        if name not in self._held:
            raise GRPCError(
                Status.NOT_FOUND, f'container "{name}" previously released or not created'
            )
        return self._held[name]

    async def release(self, name: str) -> None:
        """Close a container, and wait for it.

        Raises GRPCError if there is none, and what the first of its programs to fail came to: those that still run are
        cancelled.
        """
        held = self.find(name)
        held.release()
        del self._held[name]
        await self._holding.pop(name)
        if held.failure is not None:
            raise held.failure

    async def close(self) -> None:
        """Close all."""
        for each in self._held.values():
            each.release()
        self._held.clear()
        await asyncio.gather(*self._holding.values(), return_exceptions=True)
