"""Daemons that go away in good order, while something is asked of them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from h2.connection import H2Connection
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame, SettingsFrame

from polyarch.buildkit.api import Api
from polyarch.buildkit.farewell import Farewell
from polyarch.buildkit.nodes import ask
from polyarch.errors import RemoteError
from tests.support.network.buildkitserver import remote_at
from tests.support.network.daemons import Answer, answer, daemon, hang_up

GOODBYE = GoAwayFrame(last_stream_id=2**31 - 1, additional_data=b"graceful_stop")
PING = PingFrame(opaque_data=b"\0" * 8)
OTHERS = (SettingsFrame(), DataFrame(stream_id=1, data=b"\7" * 300), PING)


def written(*frames: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in frames)


@pytest.mark.parametrize("size", [1, 2, 7, 10, 100, 1000])
def test_a_goodbye_is_kept_back_however_it_is_cut(size: int) -> None:
    farewell = Farewell()
    data = written(OTHERS[0], GOODBYE, *OTHERS[1:], GOODBYE, PING)

    passed = b"".join(farewell.without(data[at : at + size]) for at in range(0, len(data), size))

    assert passed == written(*OTHERS, PING)
    assert farewell.is_said
    assert farewell.has_spoken


def test_a_goodbye_for_an_error_is_handed_on() -> None:
    farewell = Farewell()
    data = written(*OTHERS, GoAwayFrame(error_code=11, additional_data=b"too_many_pings"))

    assert farewell.without(data) == data
    assert not farewell.is_said


def test_what_is_no_http2_is_handed_on() -> None:
    farewell = Farewell()

    assert farewell.without(b"HTTP/1.1 400 Bad Request\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
    assert not farewell.has_spoken


def _stay(connection: socket.socket, h2: H2Connection, stream: int) -> None:
    """Answer, and wait for the client to leave."""
    answer(connection, h2, stream)
    while connection.recv(1 << 16):
        pass


def _leave_and_answer(connection: socket.socket, h2: H2Connection, stream: int) -> None:
    connection.sendall(written(GOODBYE, PING))
    _stay(connection, h2, stream)


def _leave(connection: socket.socket, _h2: H2Connection, _stream: int) -> None:
    connection.sendall(written(GOODBYE))
    hang_up(connection)


def _break_off(connection: socket.socket, _h2: H2Connection, _stream: int) -> None:
    hang_up(connection)


def test_what_is_under_way_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    with daemon(path, _leave_and_answer):
        version = ask(remote_at(f"unix://{path}"), lambda api: api.version())

    assert version == ""


def test_what_comes_after_goes_another_way(tmp_path: Path) -> None:
    """A daemon that goes away takes no call, and doesn't refuse it either."""
    path = tmp_path / "d.sock"

    async def twice(api: Api) -> tuple[str, str]:
        return await api.version(), await api.version()

    with daemon(path, _leave_and_answer, _stay):
        assert ask(remote_at(f"unix://{path}"), twice) == ("", "")


@pytest.mark.parametrize(
    ("way", "told"),
    [(_leave, "hung up: it was told to stop"), (_break_off, "hung up: the connection was closed")],
)
def test_what_is_not_answered_says_why(tmp_path: Path, way: Answer, told: str) -> None:
    path = tmp_path / "d.sock"
    with daemon(path, way), pytest.raises(RemoteError) as raised:
        ask(remote_at(f"unix://{path}"), lambda api: api.version())

    assert str(raised.value) == f"the builder at unix://{path} {told}"
