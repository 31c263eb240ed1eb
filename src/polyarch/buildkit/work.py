"""One call of Solve, with all that goes on beside it: the session, the events, and what steers the frontend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from grpclib.exceptions import GRPCError

from polyarch.buildkit.address import Target
from polyarch.buildkit.api import Api
from polyarch.buildkit.caches import Caches
from polyarch.buildkit.connection import connect
from polyarch.buildkit.gateway import Gateway, Solved
from polyarch.buildkit.messages import SolveOptions
from polyarch.buildkit.provenance import provenance_of
from polyarch.buildkit.services import Attached, methods
from polyarch.buildkit.session import run_session
from polyarch.errors import Cancelled, PolyarchError
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace

__all__ = ["Asked", "Remote", "Steer", "Work"]


@frozen
class Remote:
    """A daemon: its address as users write it, and what that means.

    `is_engine` says that it is a part of Docker's engine, which keeps images itself; `is_spread`, that each connection may lead to
    another one of several.
    """

    address: str
    target: Target
    environ: Mapping[str, str]
    is_engine: bool = False
    is_spread: bool = False


@frozen
class Asked:
    """What a frontend is asked for by a build."""

    frontend: str
    attributes: Mapping[str, str]


Steer = Callable[[Gateway, Asked], Awaitable[Solved]]
"""Asks the frontend, and returns what is to be the build's result. What it raises ends the build."""


@frozen
class Work:
    """One call of Solve with all that goes on beside it."""

    remote: Remote
    attached: Attached
    options: SolveOptions
    shared: str
    """What contexts of one directory have in common: the daemon compares them with the last one's."""
    sink: Sink
    cancel: CancelToken
    caches: Caches
    provenance: str = ""
    """Whether it's to be said where results come from: min, max, or "" for not."""
    steer: Steer | None = None

    async def run(self) -> tuple[dict[str, str], dict[str, str]]:
        """Build; returns what the exporters answer, and where results come from, by platform."""
        channel = connect(self.remote.target)
        api = Api(channel)
        ready = asyncio.Event()
        session = asyncio.create_task(
            run_session(api, self.options.session, self.shared, methods(self.attached), ready)
        )
        try:
            await self._first(asyncio.create_task(ready.wait()), session)
            status = asyncio.create_task(self._show(api))
            gateway = Gateway(channel, self.options.ref)
            solving = asyncio.create_task(self._solve(api, gateway))
            loop = asyncio.get_running_loop()

            def stop() -> None:
                loop.call_soon_threadsafe(solving.cancel)

            forget = self.cancel.on_cancel(stop)
            try:
                response = await solving
            except asyncio.CancelledError:
                raise Cancelled("context canceled") from None
            finally:
                forget()
                with suppress(asyncio.TimeoutError, asyncio.CancelledError):
                    # Its last events come after the answer.
                    await asyncio.wait_for(status, timeout=5)
            return response, await self._provenance(api)
        finally:
            session.cancel()
            await asyncio.wait({session})
            channel.close()

    async def _solve(self, api: Api, gateway: Gateway) -> dict[str, str]:
        if self.steer is None:
            return await api.solve(self.options)
        asked = Asked(frontend=self.options.frontend, attributes=self.options.attributes)
        whole = asyncio.create_task(api.solve(replace(self.options, frontend="")))
        steering = asyncio.create_task(_steered(self.steer, gateway, asked))
        try:
            await asyncio.wait({whole, steering}, return_when=asyncio.FIRST_COMPLETED)
            if not whole.done():
                await steering
            return await whole
        finally:
            for task in (whole, steering):
                task.cancel()
            await asyncio.wait({whole, steering})

    async def _provenance(self, api: Api) -> dict[str, str]:
        if not self.provenance:
            return {}
        try:
            return await provenance_of(api, self.options.ref, self.provenance)
        except (GRPCError, PolyarchError, ValueError, KeyError):
            return {}  # the image is there, and an older daemon keeps no records

    @staticmethod
    async def _first(wanted: asyncio.Task[bool], other: asyncio.Task[None]) -> None:
        """Wait for one task, or raise what the other one fails with before."""
        await asyncio.wait({wanted, other}, return_when=asyncio.FIRST_COMPLETED)
        if other.done():
            wanted.cancel()
            other.result()

    async def _show(self, api: Api) -> None:
        async for _, event in api.status(self.options.ref):
            self.sink(event)


async def _steered(steer: Steer, gateway: Gateway, asked: Asked) -> None:
    """Return to the daemon what the build is to be. Raises what ends it before, which cancels it for the daemon."""
    try:
        solved = await steer(gateway, asked)
    except GRPCError as error:
        # The answer to the whole build says it, with all that the daemon knows of it.
        await gateway.fail(error.status, error.message or error.status.name)
    else:
        await gateway.finish(solved)
