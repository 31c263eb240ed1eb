"""Daemons as nodes of a builder: what there is behind an address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from polyarch.buildkit.address import parse_target
from polyarch.buildkit.api import Api, told_trouble
from polyarch.buildkit.build import Remote
from polyarch.buildkit.connection import connect
from polyarch.buildkit.messages import WorkerInfo
from polyarch.errors import PolyarchError
from polyarch.platforms import Platform
from polyarch.record import field, frozen

__all__ = ["RemoteState", "look_at", "remote_at"]

_SECONDS = 20.0


@frozen
class RemoteState:
    """A daemon as it answered: platforms that run there natively come first. `error` says why it didn't answer."""

    version: str = ""
    platforms: tuple[Platform, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


def remote_at(address: str, options: Mapping[str, str], environ: Mapping[str, str]) -> Remote:
    """Return the daemon at a node's endpoint. Raises InputError for what is no address."""
    return Remote(address=address, target=parse_target(address, options), environ=environ)


def look_at(remote: Remote, seconds: float = _SECONDS) -> RemoteState:
    """Ask a daemon what it is; it has `seconds` to answer."""
    try:
        with told_trouble(remote.address):
            version, workers = asyncio.run(asyncio.wait_for(_look(remote), seconds))
    except TimeoutError:
        return RemoteState(error=f"{remote.address} didn't answer within {seconds:g} seconds")
    except PolyarchError as error:
        return RemoteState(error=str(error))
    if not workers:
        return RemoteState(version=version, error=f"{remote.address} has no worker")
    worker = workers[0]
    return RemoteState(
        version=version or worker.version, platforms=worker.platforms, labels=worker.labels
    )


async def _look(remote: Remote) -> tuple[str, tuple[WorkerInfo, ...]]:
    channel = connect(remote.target)
    try:
        api = Api(channel)
        return await api.version(), await api.workers()
    finally:
        channel.close()
