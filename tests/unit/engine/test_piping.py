"""Bytes of connections that aren't HTTP any more, and the frames of a program's output."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from polyarch.engine.piping import Frames, piped, read_streams
from polyarch.errors import MachineError
from polyarch.http.connection import Upgraded
from tests.support.fakes.dockerengine import frame


@pytest.fixture
def pair() -> tuple[Upgraded, socket.socket]:
    """A connection as it is after an upgrade, with a byte that came along, and its far end."""
    near, far = socket.socketpair()
    near.setblocking(False)
    return Upgraded(socket=near, first=frame(1, b"a"), says_nothing=BlockingIOError), far


@pytest.mark.parametrize("step", [1, 3, 100])
def test_frames_come_in_pieces(step: int) -> None:
    data = frame(1, b"one") + frame(2, b"two") + frame(1, b"") + frame(1, b"three")
    frames = Frames()

    found = [
        each
        for start in range(0, len(data), step)
        for each in frames.split(data[start : start + step])
    ]

    assert found == [(1, b"one"), (2, b"two"), (1, b""), (1, b"three")]


def test_what_is_no_frame() -> None:
    with pytest.raises(MachineError, match="no frame"):
        list(Frames().split(b"HTTP/1.1 200 OK"))


def test_bytes_go_both_ways_until_either_end_hangs_up(pair: tuple[Upgraded, socket.socket]) -> None:
    upgraded, far = pair
    held, ended = ExitStack(), []
    held.callback(ended.append, True)
    near = piped(upgraded, Frames().output, held)
    with near, far:
        near.sendall(b"question")
        assert far.recv(100) == b"question"
        far.sendall(frame(2, b"a warning") + frame(1, bytes(1 << 20)))
        far.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: near.recv(1 << 16), b""))

    assert got == b"a" + bytes(1 << 20)
    assert ended == [True]
    upgraded.socket.close()


def test_all_that_a_program_prints(pair: tuple[Upgraded, socket.socket]) -> None:
    upgraded, far = pair
    with far:
        far.sendall(frame(2, b"no") + frame(1, b"b"))

    assert read_streams(upgraded) == (b"ab", b"no")
    upgraded.socket.close()
