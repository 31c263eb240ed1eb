"""Clients at our descriptors, passed on to daemons."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from polyarch.buildkit.address import Target
from polyarch.buildkit.relay import relay
from polyarch.errors import InputError

LARGE = b"x" * (1 << 20)
ECHO = (sys.executable, "-c", "import os\nwhile data := os.read(0, 99): os.write(1, data)")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Target]:
    """Answer one client with what it says, and end when it has."""
    listening = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "d.sock")
    listening.bind(path)
    listening.listen()

    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    thread = threading.Thread(target=answer)
    thread.start()
    with closing(listening):
        yield Target(path=path)
        thread.join()


def spoken(target: Target, said: bytes) -> bytes:
    """Say something through pipes, and return what came back."""
    source, asking = os.pipe()
    answering, sink = os.pipe()
    heard = []

    def hear() -> None:
        with open(answering, "rb") as file:
            heard.append(file.read())

    def say() -> None:
        with open(asking, "wb") as file:
            file.write(said)

    threads = [threading.Thread(target=each) for each in (hear, say)]
    for each in threads:
        each.start()
    try:
        relay(target, source, sink)
    finally:
        os.close(source)
        os.close(sink)
        for each in threads:
            each.join()
    return heard[0]


def test_a_client_at_two_pipes(daemon: Target) -> None:
    assert spoken(daemon, LARGE) == LARGE


def test_a_daemon_behind_a_program() -> None:
    assert spoken(Target(program=ECHO), b"there and back") == b"there and back"


def test_a_client_at_one_socket(daemon: Target) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"hello")
        ours.shutdown(socket.SHUT_WR)
        relay(daemon, theirs.fileno(), theirs.fileno())
        assert ours.recv(99) == b"hello"


def test_files_are_no_client(daemon: Target, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file, pytest.raises(InputError, match="must be pipes"):
        relay(daemon, file.fileno(), file.fileno())
