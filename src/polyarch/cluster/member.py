"""A worker of a cluster: one of Dask's own, whose resources say which platforms run natively here.

Dask's resources are numbers by names: `linux/arm64: 2` lets two builds for that platform run here at once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from polyarch.cluster.address import Certificates
from polyarch.cluster.scheduler import keep_quiet, reason, security_of
from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import RunsHow, runnable
from polyarch.errors import MachineError
from polyarch.paths import state_directory
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["Member", "native_platforms", "work"]

_CONNECT = 30.0
"""Seconds that a scheduler has to answer."""


@frozen
class Member:
    """What a worker is to be: it carries out `jobs` builds at once."""

    address: str
    platforms: tuple[Platform, ...]
    jobs: int
    name: str = ""
    certificates: Certificates = Certificates()


def native_platforms(environ: Mapping[str, str]) -> tuple[Platform, ...]:
    """Return the platforms whose programs this machine's processor runs by itself."""
    found = runnable(Facts(state_directory(environ)), environ)
    return tuple(each.platform for each in found if each.how == RunsHow.NATIVE)


def work(member: Member, ready: Callable[[str], None]) -> None:
    """Be a worker until a signal ends it, or the scheduler goes away; `ready` is told its name once it has joined.

    Builds that run then are cancelled. Raises MachineError if no scheduler answers.
    """
    asyncio.run(_work(member, ready))


async def _work(member: Member, ready: Callable[[str], None]) -> None:
    distributed: Any = import_module("distributed")
    keep_quiet(logging.WARNING)
    worker = distributed.Worker(
        member.address,
        nthreads=member.jobs,
        name=member.name or None,
        resources={str(platform): member.jobs for platform in member.platforms},
        security=security_of(member.certificates),
        dashboard=False,
        # Builds are processes of their own, which Dask doesn't count.
        memory_limit=0,
    )
    try:
        await asyncio.wait_for(worker, _CONNECT)
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        raise MachineError(
            f"can't join the cluster at {member.address}: no scheduler answers within {_CONNECT:g} seconds"
            if isinstance(error, TimeoutError)
            else f"can't join the cluster at {member.address}: {reason(error)}",
            hint="is a scheduler of Dask running there, and with the same certificates?",
        ) from error
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    ready(str(worker.name))
    waiting: Sequence[asyncio.Task[Any]] = (
        asyncio.create_task(ended.wait()),
        asyncio.create_task(worker.finished()),
    )
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await worker.close(timeout=5)
    for each in waiting:
        each.cancel()
