"""The gateway of a build: results are asked of frontends one by one, and one of them is returned as that of the build.

Answers to questions are found in what a frontend says beside a result, and results of one build can be contexts of
another; neither is told by the plain call of Solve.

Source: BuildKit's `gateway.proto`, `client/build.go`, `frontend/gateway/grpcclient`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status

from polyarch.buildkit.containers import RemoteContainer
from polyarch.buildkit.messages import Stat, pairs, read_stat
from polyarch.record import field as record_field
from polyarch.record import frozen
from polyarch.wire import Message, field, present

__all__ = ["Gateway", "Ref", "Solved", "solved_of"]

_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge"
_BUILD_ID = "buildkit-controlapi-buildid"


@frozen
class Ref:
    """A result that the daemon holds for the build: its name, "" for an empty one, and the graph that makes it."""

    id: str
    definition: bytes


@frozen
class Solved:
    """What a frontend answered: results by platform ("" for the only one), and what it says of them.

    `message` is all of it, as it is returned.
    """

    message: bytes
    refs: Mapping[str, Ref] = record_field(default_factory=dict)
    metadata: Mapping[str, bytes] = record_field(default_factory=dict)


class Gateway:
    """The calls of one build's gateway. What they raise is gRPC's: see `told_trouble`."""

    def __init__(self, channel: Channel, ref: str) -> None:
        self._channel = channel
        self._ref = ref

    async def solve(
        self, frontend: str, attributes: Mapping[str, str], inputs: Mapping[str, bytes]
    ) -> Solved:
        """Ask a frontend; `inputs` are the graphs of contexts by their names. What it makes isn't built yet."""
        request = (
            field(2, frontend)
            + pairs(3, attributes)
            + field(5, 1)
            + field(6, 1)
            + b"".join(
                field(13, field(1, name) + present(2, inputs[name])) for name in sorted(inputs)
            )
        )
        return _solved(Message(await self._call("Solve", request)).bytes(3))

    async def known(self) -> frozenset[str]:
        """Return what the daemon knows of in graphs, by the names of BuildKit's capabilities."""
        told = Message(await self._call("Ping", b"")).messages(2)
        return frozenset(each.text(1) for each in told if each.integer(2))

    async def build(self, definition: bytes) -> Ref:
        """Have the daemon know a graph, of which it makes a result; it isn't built yet."""
        request = present(1, definition) + field(5, 1) + field(6, 1)
        solved = _solved(Message(await self._call("Solve", request)).bytes(3))
        return solved.refs.get("", Ref(id="", definition=b""))

    async def evaluate(self, ref: Ref) -> None:
        """Have a result built."""
        await self._call("Evaluate", field(1, ref.id))

    async def list(self, ref: Ref, path: str) -> Sequence[Stat]:
        """Return the entries of a directory of a result, which is built for it."""
        told = Message(await self._call("ReadDir", field(1, ref.id) + field(2, path)))
        return [read_stat(each) for each in told.messages(1)]

    async def read(self, ref: Ref, path: str, offset: int, size: int) -> bytes:
        """Return a part of a file of a result, `size` bytes at most, or (0) all."""
        limits = field(1, offset) + field(2, size)
        request = field(1, ref.id) + field(2, path) + (field(3, limits) if limits else b"")
        return Message(await self._call("ReadFile", request)).bytes(1)

    def container(self) -> RemoteContainer:
        """Return a container that isn't opened yet."""
        return RemoteContainer(self._channel, self._ref)

    async def finish(self, solved: Solved) -> None:
        """Make it the result of the build."""
        await self._call("Return", field(1, solved.message))

    async def fail(self, status: Status, message: str) -> None:
        """Have the build fail."""
        await self._call("Return", field(2, field(1, status.value) + field(2, message)))

    def _call(self, name: str, message: bytes) -> Awaitable[bytes]:
        method: Any = UnaryUnaryMethod(self._channel, f"{_SERVICE}/{name}", bytes, bytes)
        call: Awaitable[bytes] = method(message, metadata=[(_BUILD_ID, self._ref)])
        return call


def solved_of(refs: Mapping[str, Ref], metadata: Mapping[str, bytes]) -> Solved:
    """Return the answer of a frontend that has results by platform ("" for the only one), and says something of them."""
    if "" in refs:
        told = present(3, field(1, refs[""].id))
    else:
        listed = (
            field(1, field(1, name) + present(2, field(1, ref.id))) for name, ref in refs.items()
        )
        told = field(4, b"".join(listed))
    said = (field(10, field(1, name) + field(2, metadata[name])) for name in sorted(metadata))
    return Solved(message=told + b"".join(said), refs=refs, metadata=metadata)


def _solved(data: bytes) -> Solved:
    result = Message(data)
    single = list(map(_ref, result.messages(3)))
    refs = {"": single[-1]} if single else {}
    for listed in result.messages(4):
        refs |= {each.text(1): _ref(Message(each.bytes(2))) for each in listed.messages(1)}
    told = {each.text(1): each.bytes(2) for each in result.messages(10)}
    return Solved(message=data, refs=refs, metadata=told)


def _ref(message: Message) -> Ref:
    return Ref(id=message.text(1), definition=message.bytes(2))
