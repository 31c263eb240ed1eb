"""Daemons as nodes of a builder: what there is behind an address."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from polyarch.buildkit.api import Api, told_trouble
from polyarch.buildkit.build import Remote
from polyarch.buildkit.connection import connect
from polyarch.buildkit.messages import WorkerInfo
from polyarch.errors import PolyarchError, RemoteError
from polyarch.platforms import Platform
from polyarch.progress import Sink, check_cancelled, step
from polyarch.record import field, frozen

__all__ = ["RemoteState", "ask", "look_at", "wait_for"]

_T = TypeVar("_T")
_SECONDS = 20.0
_PAUSE = 0.1
"""Seconds between two looks at a daemon that isn't there."""
_ABSENT = frozenset(
    {errno.ENOENT, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT}
)


@frozen
class RemoteState:
    """A daemon as it answered: platforms that run there natively come first. `error` says why it didn't answer.

    `is_absent` says that nobody listens there, who may be about to.
    """

    version: str = ""
    platforms: tuple[Platform, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    is_absent: bool = False


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
        return RemoteState(error=str(error), is_absent=_is_absent(remote, error.__cause__))
    if not workers:
        return RemoteState(version=version, error=f"{remote.address} has no worker")
    worker = workers[0]
    return RemoteState(
        version=version or worker.version, platforms=worker.platforms, labels=worker.labels
    )


def wait_for(remote: Remote, sink: Sink) -> None:
    """Wait for a daemon that somebody else starts, as long as docker buildx does. Raises RemoteError, Cancelled."""
    with step(sink, "[internal] waiting for connection"):
        deadline = time.monotonic() + _SECONDS
        while (state := look_at(remote)).is_absent:
            check_cancelled()
            if time.monotonic() >= deadline:
                raise RemoteError(
                    f"{state.error}, and has been waited for {_SECONDS:g} seconds",
                    hint="start BuildKit there, or look at the builder's address: polyarch ls",
                    temporary=True,
                )
            time.sleep(_PAUSE)


def _is_absent(remote: Remote, cause: BaseException | None) -> bool:
    if remote.is_engine:
        return False  # an engine isn't started for builds
    if isinstance(cause, socket.gaierror):
        return True
    # What is raised for a name with several addresses has no number.
    is_several = isinstance(cause, OSError) and str(cause).startswith("Multiple exceptions")
    return is_several or (isinstance(cause, OSError) and cause.errno in _ABSENT)


async def _look(api: Api) -> tuple[str, tuple[WorkerInfo, ...]]:
    return await api.version(), await api.workers()
