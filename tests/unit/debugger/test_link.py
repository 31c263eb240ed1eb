"""Messages of the protocol: how they are cut, and what becomes of those that are none."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from polyarch.debugger.link import Link
from polyarch.errors import Cancelled, InputError, RemoteError


def framed(message: object) -> bytes:
    data = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)


def link_of(sent: bytes) -> tuple[Link, Callable[[], list[dict[str, Any]]]]:
    """Return a link of somebody who has sent bytes and hung up, and what gives what they were told."""
    source, theirs = os.pipe()
    os.write(theirs, sent)
    os.close(theirs)
    heard, target = os.pipe()

    def told() -> list[dict[str, Any]]:
        os.close(target)
        with os.fdopen(heard, "rb") as stream:
            parts = stream.read().split(b"Content-Length: ")[1:]
        return [json.loads(part.partition(b"\r\n\r\n")[2]) for part in parts]

    return Link(source, target), told


def test_messages_are_cut_by_their_lengths() -> None:
    link, told = link_of(b"X-Other: 1\r\n" + framed({"seq": 1}) + framed({"seq": 2, "é": "é"}))

    assert [link.receive(), link.receive(), link.receive()] == [
        {"seq": 1},
        {"seq": 2, "é": "é"},
        None,
    ]
    assert told() == []


def test_what_is_no_json_object_is_told_and_passed_over() -> None:
    deep = b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000
    link, told = link_of(framed([1]) + b"Content-Length: 3\r\n\r\n{x}" + framed({"seq": 7}))
    other, told_of_other = link_of(deep[:60_000])

    assert (link.receive(), other.receive()) == ({"seq": 7}, None)
    assert [each["body"]["category"] for each in told()] == ["stderr", "stderr"]
    assert told_of_other() == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a message has no Content-Length: 'GET / HTTP/1.1'"),
        (b"Content-Length: -1\r\n\r\n", "a message has no Content-Length: 'Content-Length: -1'"),
        (
            b"Content-Length: 40000000\r\n\r\n",
            "a message of 40000000 bytes is longer than the 33554432",
        ),
        (b"x" * 10_000, "no message of the protocol begins with b'xxxx"),
    ],
)
def test_where_no_message_can_be_found_it_is_over(data: bytes, message: str) -> None:
    link, told = link_of(data)

    with pytest.raises(InputError, match="message") as raised:
        link.receive()

    assert str(raised.value).startswith(message)
    assert told() == []


def test_answers_go_to_who_has_asked() -> None:
    answer = {"type": "response", "request_seq": 1, "success": True, "body": {"processId": 5}}
    refusal = {"type": "response", "request_seq": 2, "success": False, "message": "no"}
    link, told = link_of(framed(answer) + framed(refusal) + framed({"seq": 9}))
    listening = threading.Thread(target=link.receive)
    listening.start()

    found = link.ask("runInTerminal", {"args": []})
    with pytest.raises(RemoteError, match="runInTerminal: no"):
        link.ask("runInTerminal", {"args": []})
    listening.join()
    link.receive()
    with pytest.raises(Cancelled, match="went away"):
        link.ask("runInTerminal", {"args": []})

    assert found["body"] == {"processId": 5}
    assert [each["seq"] for each in told()] == [1, 2, 3]
