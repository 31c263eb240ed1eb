"""Stores of content that daemons read and write over a session."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.buildkit.content import Call, info_method, read_method, write_method
from polyarch.digest import sha256
from polyarch.images.layout import Layout
from polyarch.wire import Message, field

DATA = b"0123456789"
DIGEST = sha256(DATA)
STAT, WRITE, COMMIT = 0, 1, 2


class Asked:
    """A call of the daemon's: the messages that it sends, and those that it gets."""

    def __init__(self, *messages: bytes, store: str = "s") -> None:
        self.metadata = {"buildkit-attachable-store-id": store}
        self.answers: list[Message] = []
        self._messages = list(messages)

    async def recv_message(self) -> bytes | None:
        return self._messages.pop(0) if self._messages else None

    async def send_message(self, message: bytes) -> None:
        self.answers.append(Message(message))


def ask(method: Call, *messages: bytes, store: str = "s") -> list[Message]:
    asked = Asked(*messages, store=store)
    stream: Any = asked
    asyncio.run(_run(method, stream))
    return asked.answers


async def _run(method: Call, stream: Any) -> None:
    await method(stream)


def sent(action: int, data: bytes = b"", offset: int = 0, expected: str = "") -> bytes:
    told = field(1, action) + field(2, "ref") + field(3, len(DATA)) + field(4, expected)
    return told + field(5, offset) + field(6, data)


@pytest.fixture
def layouts(tmp_path: Path) -> dict[str, Layout]:
    return {"s": Layout(tmp_path / "layout")}


def test_a_blob_is_written_in_pieces_and_read_in_parts(layouts: dict[str, Layout]) -> None:
    answers = ask(
        write_method(layouts),
        sent(STAT, expected=DIGEST),
        sent(WRITE, DATA[:4]),
        sent(WRITE, DATA[4:], offset=4),
        sent(COMMIT, offset=10, expected=DIGEST),
    )
    (info,) = ask(info_method(layouts), field(1, DIGEST))
    whole = ask(read_method(layouts), field(1, DIGEST))
    part = ask(read_method(layouts), field(1, DIGEST) + field(2, 3) + field(3, 4))
    rest = ask(read_method(layouts), field(1, DIGEST) + field(2, 8) + field(3, 100))

    assert [each.integer(4) for each in answers] == [0, 4, 10, 10]
    assert answers[-1].text(6) == DIGEST
    told = Message(info.bytes(1))
    assert (told.text(1), told.integer(2)) == (DIGEST, len(DATA))
    found = [b"".join(each.bytes(2) for each in read) for read in (whole, part, rest)]
    assert found == [DATA, DATA[3:7], DATA[8:]]


def test_a_blob_that_begins_anew(layouts: dict[str, Layout]) -> None:
    ask(write_method(layouts), sent(WRITE, b"wrong"), sent(COMMIT, DATA))

    assert ask(info_method(layouts), field(1, DIGEST))


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ((sent(WRITE, DATA, offset=3),), Status.OUT_OF_RANGE),
        (
            (sent(WRITE, b"other"), sent(COMMIT, offset=5, expected=DIGEST)),
            Status.FAILED_PRECONDITION,
        ),
        ((sent(STAT, expected="sha256:short"),), Status.INVALID_ARGUMENT),
    ],
)
def test_what_can_not_be_written(
    layouts: dict[str, Layout], messages: tuple[bytes, ...], status: Status
) -> None:
    with pytest.raises(GRPCError) as caught:
        ask(write_method(layouts), *messages)

    assert caught.value.status is status
    assert not list(layouts["s"].directory.rglob("*"))


def test_what_is_there_is_not_written_again(layouts: dict[str, Layout]) -> None:
    ask(write_method(layouts), sent(COMMIT, DATA))

    with pytest.raises(GRPCError) as caught:
        ask(write_method(layouts), sent(STAT, expected=DIGEST))

    assert caught.value.status is Status.ALREADY_EXISTS


def test_what_is_not_there(layouts: dict[str, Layout]) -> None:
    told = []
    for method, message, store in (
        (info_method(layouts), field(1, DIGEST), "s"),
        (read_method(layouts), field(1, DIGEST), "s"),
        (info_method(layouts), field(1, DIGEST), "other"),
        (read_method(layouts), field(1, "no digest"), "s"),
    ):
        with pytest.raises(GRPCError) as caught:
            ask(method, message, store=store)
        told.append(caught.value.status)

    assert told == [Status.NOT_FOUND] * 3 + [Status.INVALID_ARGUMENT]
