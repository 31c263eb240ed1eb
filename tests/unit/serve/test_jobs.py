"""Builds that go on, for those who look on."""

from __future__ import annotations

import asyncio

import pytest
from grpclib.exceptions import GRPCError

from polyarch.digest import Digest
from polyarch.history.status import events_in
from polyarch.progress import Event, StepEvent
from polyarch.serve.jobs import Job, Jobs

FIRST, SECOND = (StepEvent(step=Digest(f"sha256:{n}"), name=n) for n in "ab")


async def _events(job: Job) -> list[Event]:
    return [event async for message in job.events() for _, event in events_in(message)]


def test_all_see_what_comes_and_the_first_what_came_before() -> None:
    idle: list[bool] = []

    async def run() -> tuple[list[Event], list[Event]]:
        jobs = Jobs(lambda: idle.append(True))
        job = Job("ref", "session", asyncio.get_running_loop())
        waiting = asyncio.create_task(jobs.find("ref"))
        await jobs.add(job)
        assert await waiting is job
        job.tell(FIRST)
        await asyncio.sleep(0)
        early = asyncio.create_task(_events(job))
        await asyncio.sleep(0)
        late = asyncio.create_task(_events(job))
        await asyncio.sleep(0)
        job.tell(SECOND)
        await asyncio.sleep(0)
        with pytest.raises(GRPCError, match="job ID ref exists"):
            await jobs.add(job)
        jobs.remove(job)
        return await early, await late

    early, late = asyncio.run(run())

    assert (early, late) == ([FIRST, SECOND], [SECOND])
    assert idle == [True]


def test_who_comes_after_the_end_sees_what_is_left() -> None:
    async def run() -> list[Event]:
        jobs = Jobs()
        for number in range(70):
            job = Job(f"ref{number}", "session", asyncio.get_running_loop())
            await jobs.add(job)
            job.tell(FIRST)
            await asyncio.sleep(0)
            jobs.remove(job)
        return await _events(await jobs.find("ref10"))

    assert asyncio.run(run()) == [FIRST]


def test_all_end_together() -> None:
    async def run() -> bool:
        jobs = Jobs()
        job = Job("ref", "session", asyncio.get_running_loop())
        await jobs.add(job)
        jobs.cancel()
        return job.cancel.cancelled

    assert asyncio.run(run())
