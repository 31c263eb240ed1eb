"""A server that speaks HTTP/2 as a daemon does, and answers calls in ways that a real one has but rarely."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

__all__ = ["Answer", "answer", "daemon", "hang_up"]

Answer = Callable[[socket.socket, H2Connection, int], None]
"""Answers a call by its connection and its stream."""


@contextmanager
def daemon(path: Path, *answers: Answer) -> Iterator[None]:
    """Answer the first request of each connection, one after the other, each in its way; the first call counts."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        with suppress(OSError), ThreadPoolExecutor(len(answers)) as connections:
            for answer in answers:
                connections.submit(_speak, listening.accept()[0], answer)

    thread = threading.Thread(target=serve, name="daemon")
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()


def _speak(connection: socket.socket, answer: Answer) -> None:
    h2 = H2Connection(H2Configuration(client_side=False))
    h2.initiate_connection()
    with connection, suppress(ConnectionError):
        connection.sendall(h2.data_to_send())
        while data := connection.recv(1 << 16):
            for event in h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    answer(connection, h2, event.stream_id)
                    return
            connection.sendall(h2.data_to_send())


def answer(connection: socket.socket, h2: H2Connection, stream: int, **trailers: str) -> None:
    """Answer with an empty message, or with the trailers of an error; hyphens in their names are underscores here."""
    h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc+proto")])
    if not trailers:
        h2.send_data(stream, b"\0\0\0\0\0")
    told = {"grpc_status": "0", **trailers}
    names = [(name.replace("_", "-"), value) for name, value in told.items()]
    h2.send_headers(stream, names, end_stream=True)
    connection.sendall(h2.data_to_send())


def hang_up(connection: socket.socket) -> None:
    """Send no more, and wait for the client to leave: what was sent gets there."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(1 << 16):
        pass
