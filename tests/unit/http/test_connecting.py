"""Hosts with several addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from polyarch.http.connecting import connect
from tests.support.network.servers import free_port


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of somebody whose queue is full: who calls now hears nothing."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = server.getsockname()[1]
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Have all names lead to ports of this machine: a name server of our own would take root."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)


def test_the_only_address(listener: socket.socket) -> None:
    with connect("127.0.0.1", port_of(listener)) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() == 30


def test_an_address_that_says_nothing_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, deaf: int, listener: socket.socket
) -> None:
    resolve_to(monkeypatch, deaf, port_of(listener))

    with connect("registry.example", 443) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_an_address_that_refuses_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    resolve_to(monkeypatch, free_port(), port_of(listener))

    with connect("registry.example", 443) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_nobody_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, free_port(), free_port())

    with pytest.raises(ConnectionRefusedError, match=r"\[Errno 111\] Connection refused"):
        connect("registry.example", 443)


def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch)

    with pytest.raises(OSError, match="has no address"):
        connect("registry.example", 443)
