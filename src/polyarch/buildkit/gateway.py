"""The gateway of a build: results are asked of frontends one by one, and one of them is returned as that of the build.

Answers to questions are found in what a frontend says beside a result, and results of one build can be contexts of
another; neither is told by the plain call of Solve.

Source: BuildKit's `gateway.proto`, `client/build.go`, `frontend/gateway/grpcclient`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Status

from polyarch.buildkit.messages import pairs
from polyarch.record import field as record_field
from polyarch.record import frozen
from polyarch.wire import Message, field

__all__ = ["Gateway", "Ref", "Solved"]

_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge"
_BUILD_ID = "buildkit-controlapi-buildid"


@frozen
class Ref:
    """A result that the daemon holds for the build: its name, and the graph that makes it."""

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
                field(13, field(1, name) + field(2, inputs[name])) for name in sorted(inputs)
            )
        )
        return _solved(Message(await self._call("Solve", request)).bytes(3))

    async def evaluate(self, ref: Ref) -> None:
        """Have a result built."""
        await self._call("Evaluate", field(1, ref.id))

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


def _solved(data: bytes) -> Solved:
    result = Message(data)
    single = [_ref(each) for each in result.messages(3) if each.text(1)]
    refs = {"": single[-1]} if single else {}
    for listed in result.messages(4):
        refs |= {each.text(1): _ref(Message(each.bytes(2))) for each in listed.messages(1)}
    told = {each.text(1): each.bytes(2) for each in result.messages(10)}
    return Solved(message=data, refs=refs, metadata=told)


def _ref(message: Message) -> Ref:
    return Ref(id=message.text(1), definition=message.bytes(2))
