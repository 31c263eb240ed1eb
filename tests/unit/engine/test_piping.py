"""Bytes of connections that aren't HTTP any more, and the frames of a program's output."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from polyarch.engine.piping import Frames, piped, read_streams
from polyarch.errors import MachineError
from polyarch.http.connection import Upgraded
from polyarch.http.tls import tolerate
from tests.support.fakes.dockerengine import frame
from tests.support.network.certificates import make_certificates, server_side


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
    held, ended = ExitStack(), threading.Event()
    held.callback(ended.set)
    near = piped(upgraded, Frames().output, held)
    with near, far:
        near.sendall(b"question")
        assert far.recv(100) == b"question"
        far.sendall(frame(2, b"a warning") + frame(1, bytes(1 << 20)))
        far.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: near.recv(1 << 16), b""))

    assert got == b"a" + bytes(1 << 20)
    assert ended.wait(60)
    upgraded.socket.close()


def test_all_that_a_program_prints(pair: tuple[Upgraded, socket.socket]) -> None:
    upgraded, far = pair
    with far:
        far.sendall(frame(2, b"no") + frame(1, b"b"))

    assert read_streams(upgraded) == (b"ab", b"no")
    upgraded.socket.close()


def test_bytes_through_tls(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    ours, theirs = socket.socketpair()
    trust = tolerate(ssl.create_default_context(cafile=str(tmp_path / "ca.crt")))
    with (
        ours,
        server_side(tmp_path).wrap_socket(
            theirs, server_side=True, do_handshake_on_connect=False
        ) as far,
    ):
        shaking = threading.Thread(target=far.do_handshake)
        shaking.start()
        secured = trust.wrap_socket(ours, server_hostname="127.0.0.1")
        shaking.join()
        secured.setblocking(False)
        upgraded = Upgraded(socket=secured, first=b"", says_nothing=ssl.SSLWantReadError)
        with piped(upgraded, bytes, ExitStack()) as near:
            near.sendall(b"question")
            assert far.recv(100) == b"question"
            sending = threading.Thread(target=far.sendall, args=(bytes(1 << 20),))
            sending.start()
            got = 0
            while got < 1 << 20:
                got += len(near.recv(1 << 16))
            sending.join()
        secured.close()
