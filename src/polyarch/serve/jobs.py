"""Builds that go on, by their refs: what their clients see of them, and what their gateways have said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.history.status import status_message
from polyarch.progress import CancelToken, Event
from polyarch.serve.begun import Begun
from polyarch.serve.layouts import Layouts

__all__ = ["Job", "Jobs"]

_SECONDS = 30.0
"""How long those wait who are quicker than the build that they ask about."""
_LARGEST = 1 << 20
_MOST_ENDED = 64


class Job:
    """A build: its events for those who look on, kept until the first of them comes."""

    def __init__(self, ref: str, session: str, loop: asyncio.AbstractEventLoop) -> None:
        self.ref = ref
        self.session = session
        self.cancel = CancelToken()
        self.layouts = Layouts()
        self.begun: list[Begun] = []
        self.pins: dict[str, str] = {}
        """The digests of files of web servers that the client was told of."""
        self._loop = loop
        self._waiting = bytearray()
        self._is_over = False
        self._watchers: list[asyncio.Queue[bytes | None]] = []

    def tell(self, event: Event) -> None:
        """Add an event; may be called from any thread."""
        message = status_message(event, time.time())
        with suppress(RuntimeError):  # the server ends
            self._loop.call_soon_threadsafe(self._add, message)

    def _add(self, message: bytes) -> None:
        if not self._watchers:
            self._waiting += message
        for each in self._watchers:
            each.put_nowait(message)

    def end(self) -> None:
        """Mark the end of the events; call in the loop only."""
        self._is_over = True
        for each in self._watchers:
            each.put_nowait(None)

    async def events(self) -> AsyncIterator[bytes]:
        """Yield StatusResponses until the build has ended."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        if self._waiting:
            queue.put_nowait(bytes(self._waiting))
            self._waiting.clear()
        if self._is_over:
            queue.put_nowait(None)
        self._watchers.append(queue)
        try:
            while (message := await queue.get()) is not None:
                # Several at once, as messages cost more than what is in them.
                while not queue.empty() and len(message) < _LARGEST:
                    more = queue.get_nowait()
                    if more is None:
                        yield message
                        return
                    message += more
                yield message
        finally:
            self._watchers.remove(queue)


class Jobs:
    """All builds that go on, and the last ones that have ended. In the loop only."""

    def __init__(self, on_idle: Callable[[], None] = lambda: None) -> None:
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}
        self._changed = asyncio.Condition()
        self._on_idle = on_idle
        self._is_ending = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def add(self, job: Job) -> None:
        """Add a build. Raises GRPCError if there is one of its ref, or if the server ends."""
        async with self._changed:
            if self._is_ending:
                raise GRPCError(Status.UNAVAILABLE, "the server takes no more builds: it is ending")
            if job.ref in self._jobs:
                raise GRPCError(Status.UNKNOWN, f"job ID {job.ref} exists")
            self._jobs[job.ref] = job
            self._idle.clear()
            self._changed.notify_all()

    def remove(self, job: Job) -> None:
        """Note that a build has ended; clients that ask about it a little later are told so at once."""
        del self._jobs[job.ref]
        job.end()
        self._ended[job.ref] = job
        while len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        if not self._jobs:
            self._idle.set()
            self._on_idle()

    async def find(self, ref: str) -> Job:
        """Return a build, which may be about to begin. Raises GRPCError if it doesn't."""
        async with self._changed:
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._changed.wait_for(lambda: ref in {**self._ended, **self._jobs})
            except TimeoutError as error:
                raise GRPCError(Status.NOT_FOUND, f"no such job {ref}") from error
            return self._jobs.get(ref) or self._ended[ref]

    async def finish(self) -> None:
        """Take no more builds, and wait until those that go on have ended."""
        self._is_ending = True
        await self._idle.wait()

    def cancel(self) -> None:
        """End all builds."""
        for each in self._jobs.values():
            each.cancel.cancel()
