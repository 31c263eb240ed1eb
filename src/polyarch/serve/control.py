"""The service `Control` of BuildKit's API. Source: BuildKit's `control/control.go`, `control.proto`, `worker.proto`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from grpclib.const import Handler as Method
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.buildkit.messages import pairs
from polyarch.engine.engine import Engine
from polyarch.errors import InputError, NotFound
from polyarch.history.status import status_message
from polyarch.serve.building import Builds
from polyarch.serve.calls import received, streamed, unary
from polyarch.serve.gateway import Gateways
from polyarch.serve.histories import HistoryCalls
from polyarch.serve.jobs import Job, Jobs
from polyarch.serve.messages import SolveRequest, read_solve_request
from polyarch.serve.results import response_of
from polyarch.serve.sessions import Sessions
from polyarch.serve.usage import UsageCalls
from polyarch.serve.worker import Worker, version
from polyarch.wire import Message, field

__all__ = ["Control"]

_SERVICE = "/moby.buildkit.v1.Control/"
_BATCH = 1 << 20
_LEAVE = 5.0
"""Seconds for clients to ask what has become of their builds, before the server ends."""


class Control:
    """Answers the calls of clients; `gateways` are where frontends on the client's side have theirs answered."""

    def __init__(self, engine: Engine, builds: Builds, gateways: Gateways, worker: Worker) -> None:
        self.sessions = Sessions()
        self._builds = builds
        self._gateways = gateways
        self._jobs = Jobs(engine.store.rest)
        self._usage = UsageCalls(engine)
        self._histories = HistoryCalls(engine)
        self._worker = worker.told

    def __mapping__(self) -> dict[str, Method]:
        """Return the methods by their paths."""
        found = {
            "Info": unary(self._info),
            "ListWorkers": unary(self._workers),
            "DiskUsage": unary(self._usage.disk_usage),
            "Prune": streamed(self._usage.prune),
            "Session": streamed(self.sessions.carry, takes_many=True),
            "Status": streamed(self._status),
            "Solve": unary(self._solve),
            "ListenBuildHistory": streamed(self._histories.listen),
            "UpdateBuildHistory": unary(self._histories.update),
        }
        return {_SERVICE + name: method for name, method in found.items()}

    async def _info(self, _data: bytes, _metadata: Any) -> bytes:
        return field(1, version())

    async def _workers(self, _data: bytes, _metadata: Any) -> bytes:
        return field(1, await self._worker())

    async def _status(self, stream: Any) -> None:
        ref = Message(await received(stream) or b"").text(1)
        try:
            # A build that ended: its events are kept.
            record = self._histories.history.get(ref) if ref else None
        except (NotFound, InputError):
            record = None
        if record is not None and record.completed is not None:
            batch = b""
            for moment, event in self._histories.history.events(record):
                batch += status_message(event, moment)
                if len(batch) > _BATCH:
                    await stream.send_message(batch)
                    batch = b""
            await stream.send_message(batch)
            return
        job = await self._jobs.find(ref)
        async for message in job.events():
            await stream.send_message(message)

    async def _solve(self, data: bytes, _metadata: Any) -> bytes:
        request = read_solve_request(data)
        job = Job(request.ref, request.session, asyncio.get_running_loop())
        await self._jobs.add(job)
        try:
            return pairs(1, await self._solved(request, job))
        except asyncio.CancelledError:
            job.cancel.cancel()
            raise
        finally:
            self._jobs.remove(job)
            loop = asyncio.get_running_loop()
            with suppress(RuntimeError):  # the server ends
                await loop.run_in_executor(self._builds.threads, self._builds.forget, job)

    async def _solved(self, request: SolveRequest, job: Job) -> Mapping[str, str]:
        if not request.ref or not request.session:
            raise GRPCError(Status.INVALID_ARGUMENT, "a build needs a ref and a session")
        self._builds.check_allowed(request)
        session = await self.sessions.find(request.session)
        if not (request.frontend or request.has_definition):
            # The client's own program decides what is built, and asks the gateway.
            request = await self._gateways.result(request, session, job)
            if request.is_nothing:
                return response_of(request.metadata)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._builds.threads, self._builds.build, request, session, job)
        return {**await work, **response_of(request.metadata)}

    async def finish(self) -> None:
        """Take no more builds, and wait until those that are under way have ended, and their clients have gone.

        A client that stays when its build has ended isn't waited for long.
        """
        await self._jobs.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE):
                await self.sessions.gone()

    def close(self) -> None:
        """End all builds, and wait for them."""
        self._jobs.cancel()
        self._builds.threads.shutdown()
