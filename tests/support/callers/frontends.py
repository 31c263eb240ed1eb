"""Frontends that run at the client, as those of BuildKit's Go client do: they ask the gateway, and return a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grpclib.client import UnaryUnaryMethod
from grpclib.const import Cardinality
from grpclib.const import Handler as Method

from polyarch.buildkit.api import Api
from polyarch.buildkit.build import Remote
from polyarch.buildkit.connection import connect
from polyarch.buildkit.files import Directory, directory_method
from polyarch.buildkit.messages import SolveOptions
from polyarch.buildkit.session import run_session
from polyarch.wire import Message, field

__all__ = ["Asked", "Frontend", "ref_of", "returning"]

Asked = tuple[str, bytes | Callable[[list[Message]], bytes]]
"""A method's name, and its message, which may depend on the answers so far."""


def ref_of(solved: Message) -> str:
    """Return the ref of the only result that `Solve` has answered with."""
    return Message(Message(solved.bytes(3)).bytes(3)).text(1)


def returning(number: int) -> Asked:
    """Return the result of the answer `number`, a Solve's."""
    return "Return", lambda told: field(1, field(3, field(1, ref_of(told[number]))))


class Frontend:
    """A build whose frontend is the test: a session with directories alone, a call of Solve, and calls of the gateway."""

    def __init__(self, remote: Remote, directories: Mapping[str, Path] | None = None) -> None:
        self._remote = remote
        given = {name: Directory(path) for name, path in (directories or {}).items()}
        send = Method(directory_method(given), Cardinality.STREAM_STREAM, bytes, bytes)
        self._methods = {"/moby.filesync.v1.FileSync/DiffCopy": send} if given else {}
        self.solved: dict[str, str] = {}

    def run(
        self, *asked: Asked, exporters: tuple[tuple[str, dict[str, str]], ...] = ()
    ) -> list[Message]:
        """Make the calls, and return their answers, while the build waits for the last one."""
        return asyncio.run(self._run(asked, exporters))

    async def _run(
        self,
        asked: tuple[Asked, ...],
        exporters: tuple[tuple[str, dict[str, str]], ...],
    ) -> list[Message]:
        channel = connect(self._remote.target)
        api, ready = Api(channel), asyncio.Event()
        session = asyncio.create_task(run_session(api, "sid", "key", self._methods, ready))
        options = SolveOptions(
            ref="ref", session="sid", attributes={}, frontend="", exporters=exporters
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({waiting, session}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            waiting.cancel()
            session.result()  # raises what kept it from beginning
        solving = asyncio.create_task(api.solve(options))
        try:
            answers: list[Message] = []
            for name, message in asked:
                told = message if isinstance(message, bytes) else message(answers)
                answers.append(await self._ask(channel, name, told))
            self.solved = await solving
        finally:
            for task in (solving, session):
                task.cancel()
            await asyncio.gather(solving, session, return_exceptions=True)
            channel.close()
        return answers

    async def _ask(self, channel: Any, name: str, message: bytes) -> Message:
        path = f"/moby.buildkit.v1.frontend.LLBBridge/{name}"
        method: Any = UnaryUnaryMethod(channel, path, bytes, bytes)
        return Message(await method(message, metadata={"buildkit-controlapi-buildid": "ref"}))
