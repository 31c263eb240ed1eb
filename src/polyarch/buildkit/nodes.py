"""Daemons as nodes of a builder: what there is behind an address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from polyarch.buildkit.api import Api, told_trouble
from polyarch.buildkit.build import Remote
from polyarch.buildkit.connection import connect
from polyarch.buildkit.messages import WorkerInfo
from polyarch.errors import PolyarchError, RemoteError
from polyarch.platforms import Platform
from polyarch.record import field, frozen

__all__ = ["RemoteState", "ask", "look_at"]

_T = TypeVar("_T")
_SECONDS = 20.0


@frozen
class RemoteState:
    """A daemon as it answered: platforms that run there natively come first. `error` says why it didn't answer."""

    version: str = ""
    platforms: tuple[Platform, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


def ask(
    remote: Remote, question: Callable[[Api], Awaitable[_T]], seconds: float | None = None
) -> _T:
    """Ask a daemon something, which has `seconds` to answer, if that's given. Raises RemoteError, SolveFailed."""

    async def run() -> _T:
        channel = connect(remote.target)
        try:
            return await asyncio.wait_for(question(Api(channel)), seconds)
        except TimeoutError as error:
            if isinstance(error.errno, int):  # of the connection, not of waiting
                raise
            raise RemoteError(
                f"{remote.address} didn't answer within {seconds:g} seconds", temporary=True
            ) from error
        finally:
            channel.close()

    with told_trouble(remote.address):
        return asyncio.run(run())


def look_at(remote: Remote, seconds: float = _SECONDS) -> RemoteState:
    """Ask a daemon what it is; it has `seconds` to answer."""
    try:
        version, workers = ask(remote, _look, seconds)
    except PolyarchError as error:
        return RemoteState(error=str(error))
    if not workers:
        return RemoteState(version=version, error=f"{remote.address} has no worker")
    worker = workers[0]
    return RemoteState(
        version=version or worker.version, platforms=worker.platforms, labels=worker.labels
    )


async def _look(api: Api) -> tuple[str, tuple[WorkerInfo, ...]]:
    return await api.version(), await api.workers()
