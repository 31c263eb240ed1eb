"""polyarch behind BuildKit's API, in a thread of the tests' own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from polyarch.buildkit.address import parse_target
from polyarch.buildkit.build import Remote
from polyarch.engine.engine import Engine
from polyarch.progress import CancelToken, Sink
from polyarch.request.values import BuildRequest
from polyarch.serve.address import Address, listen
from polyarch.serve.server import answering

__all__ = ["remote_at", "serving_buildkit"]


def remote_at(
    address: str, options: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> Remote:
    """Return a daemon by its address, as the driver `remote` does."""
    return Remote(
        address=address, target=parse_target(address, options or {}), environ=environ or {}
    )


@contextmanager
def serving_buildkit(engine: Engine, directory: Path) -> Iterator[Remote]:
    """Answer for an engine at a socket in `directory`; gives it as the client's code knows daemons."""
    path = directory / "buildkitd.sock"
    ready, ended = threading.Event(), threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stopped = asyncio.Event()
        async with answering(engine, _asked) as answers:
            server = answers.server
            await server.start(sock=listen(Address(path=str(path))))
            loops.append((asyncio.get_running_loop(), stopped))
            ready.set()
            await stopped.wait()
            server.close()
            await server.wait_closed()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            ready.set()
            ended.set()

    threading.Thread(target=run, name="server").start()
    ready.wait()
    try:
        yield remote_at(f"unix://{path}", environ={"DOCKER_CONFIG": str(directory / "docker")})
    finally:
        loop, stopped = loops[0]
        loop.call_soon_threadsafe(stopped.set)
        ended.wait()


def _asked(
    name: str, engine: Engine, request: BuildRequest, sink: Sink, cancel: CancelToken
) -> Mapping[str, bytes]:
    del engine, sink, cancel
    return {"result.txt": f"{name} of {request.target}".encode(), "version": b"1.0.0"}
