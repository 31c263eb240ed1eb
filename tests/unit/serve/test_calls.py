"""Messages of a bounded size, and errors as clients are told of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.errors import Cancelled, InputError, NotFound
from polyarch.graph.location import Location, SourceText
from polyarch.serve.calls import LARGEST, Details, error_of, received, unary
from polyarch.serve.llb.definition import read_definition
from polyarch.wire import Message, field
from tests.support.callers.graphs import EXEC, Graph, meta, mount


class Call:
    """A call whose bytes are known; it notes what it is answered."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stream = self
        self.metadata = {"a": "b"}
        self.sent: list[bytes] = []

    async def recv_data(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    async def send_message(self, message: bytes) -> None:
        self.sent.append(message)


def head(size: int, *, compressed: int = 0) -> bytes:
    return bytes((compressed,)) + size.to_bytes(4, "big")


def test_messages_are_read_to_the_end() -> None:
    call: Any = Call(head(2) + b"ab" + head(0))

    assert [asyncio.run(received(call)) for _ in range(3)] == [b"ab", b"", None]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(LARGEST + 1), Status.RESOURCE_EXHAUSTED),
        (head(1, compressed=1), Status.UNIMPLEMENTED),
    ],
)
def test_messages_that_are_not_taken(data: bytes, status: Status) -> None:
    call: Any = Call(data)

    with pytest.raises(GRPCError) as caught:
        asyncio.run(received(call))

    assert caught.value.status is status


def test_a_call_is_answered_with_one_message() -> None:
    async def answer(data: bytes, metadata: dict[str, str]) -> bytes:
        return data + metadata["a"].encode()

    call: Any = Call(head(1) + b"x")
    asyncio.run(unary(answer).func(call))

    assert call.sent == [b"xb"]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (Cancelled("the build was cancelled"), Status.CANCELLED, "context canceled"),
        (InputError("failed to solve: no"), Status.UNKNOWN, "no"),
        (NotFound("x: not found"), Status.UNKNOWN, "x: not found"),
        (KeyError("k"), Status.UNKNOWN, "polyarch has a bug: KeyError: 'k'"),
        (GRPCError(Status.NOT_FOUND, "own"), Status.NOT_FOUND, "own"),
    ],
)
def test_errors_are_told_as_buildkit_does(error: Exception, status: Status, message: str) -> None:
    found = error_of(error)

    assert (found.status, found.message, found.details) == (status, message, None)


def test_a_place_in_the_dockerfile_goes_along() -> None:
    place = Location(source=SourceText(name="Dockerfile", text="FROM a\nRUN b\n"), start=2, end=2)
    found = error_of(InputError("no", place=place))

    coded = Message(Details().encode(found.status, found.message, found.details))
    detail = Message(coded.bytes(3))

    assert (coded.integer(1), coded.text(2)) == (2, "no")
    assert detail.text(1) == "github.com/moby/buildkit/errdefs.Source+json"
    told = json.loads(detail.bytes(2))
    assert told["ranges"] == [{"start": {"line": 2}, "end": {"line": 2}}]
    assert told["info"]["filename"] == "Dockerfile"


def test_all_places_of_a_graph_are_told_the_last_one_first() -> None:
    def place(number: int, line: int) -> bytes:
        position = field(1, line) + field(2, 4)
        return field(1, field(1, number) + field(2, field(1, position) + field(2, position)))

    graph = Graph()
    step = graph.op(EXEC, meta("x") + mount("/", f4=0))
    definition = field(1, b"op")
    infos = field(2, field(1, "a") + field(2, b"one")) + field(
        2, field(1, "b") + field(2, b"two") + field(3, definition) + field(4, "lang")
    )
    source = field(1, field(1, step) + field(2, place(0, 1) + place(1, 2))) + infos
    read = read_definition(graph.definition((step, 0)) + field(3, source))

    error = error_of(InputError("failed", place=read.locations[step]))

    first, second = (json.loads(each.bytes(2)) for each in told(error))
    assert (first["info"]["filename"], second["info"]["filename"]) == ("b", "a")
    assert first["info"]["language"] == "lang"
    assert first["info"]["definition"] == {"def": ["b3A="]}
    assert second["info"]["definition"] is None
    assert second["ranges"][0]["start"] == {"line": 1, "character": 4}


def told(error: GRPCError) -> list[Message]:
    return list(Message(error.details).messages(3))
