"""Frontends that run at the client, as those of BuildKit's Go client do: they ask the gateway, and return a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grpclib.client import StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality
from grpclib.const import Handler as Method
from grpclib.exceptions import GRPCError

from polyarch.buildkit.api import Api
from polyarch.buildkit.build import Remote
from polyarch.buildkit.connection import connect
from polyarch.buildkit.files import Directory, directory_method
from polyarch.buildkit.messages import SolveOptions
from polyarch.buildkit.session import run_session
from polyarch.serve.calls import Details
from polyarch.wire import Message, field, fields

__all__ = ["Asked", "Frontend", "awaiting", "ref_of", "returning", "saying"]

_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
_METADATA = {"buildkit-controlapi-buildid": "ref"}

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

    def __init__(
        self,
        remote: Remote,
        directories: Mapping[str, Path] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self._remote = remote
        self._attributes = dict(attributes or {})
        given = {name: Directory(path) for name, path in (directories or {}).items()}
        self.read: list[str] = []
        """The names of directories, as often as they were asked for."""
        method = directory_method(given)

        async def noted(stream: Any) -> None:
            self.read.append(stream.metadata["dir-name"])
            await method(stream)

        send = Method(noted, Cardinality.STREAM_STREAM, bytes, bytes)
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
        channel._status_details_codec = Details()
        api, ready = Api(channel), asyncio.Event()
        session = asyncio.create_task(run_session(api, "sid", "key", self._methods, ready))
        options = SolveOptions(
            ref="ref", session="sid", attributes=self._attributes, frontend="", exporters=exporters
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
        if name == "ExecProcess":
            return await _execute(channel, message)
        name, failing, _ = name.partition(" failing")
        method: Any = UnaryUnaryMethod(channel, f"{_BRIDGE}{name}", bytes, bytes)
        try:
            return Message(await method(message, metadata=_METADATA))
        except GRPCError as error:
            if not failing:
                raise
            return Message(error.details or b"")


def saying(program: str, kind: int, told: bytes = b"") -> bytes:
    """Return what is said to a program over ExecProcess."""
    return field(1, field(1, program) + (field(kind, told) or bytes((kind << 3 | 2, 0))))


def awaiting(program: str, kind: int) -> bytes:
    """Return a wish to go on only when a program has answered with a message of this kind."""
    return field(2, field(1, program) + field(2, kind))


async def _execute(channel: Any, told: bytes) -> Message:
    """Talk over ExecProcess as `saying` and `awaiting` have it, and return all answers (1)."""
    method: Any = StreamStreamMethod(channel, f"{_BRIDGE}ExecProcess", bytes, bytes)
    answers: list[bytes] = []
    async with method.open(metadata=_METADATA) as stream:
        for number, data in fields(told):
            assert isinstance(data, bytes)
            if number == 1:
                await stream.send_message(data)
                continue
            wanted = Message(data)
            while not any(
                each.text(1) == wanted.text(1) and each.all(wanted.integer(2))
                for each in map(Message, answers)
            ):
                answers.append(await stream.recv_message())
        await stream.end()
        while (answer := await stream.recv_message()) is not None:
            answers.append(answer)
    return Message(b"".join(field(1, each) for each in answers))
