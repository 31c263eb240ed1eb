"""An ssh agent handed into a step: it may list keys and sign with them, nothing else.

Source: draft-miller-ssh-agent, "Protocol messages": a length of four bytes, a type of one, the rest.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["forward_agent", "short_name"]

_LENGTH = struct.Struct(">I")
_MOST = 256 << 10
_FAILURE = b"\x00\x00\x00\x01\x05"
_ALLOWED = frozenset({11, 13})  # SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST


@contextmanager
def forward_agent(agent: str, path: Path) -> Iterator[None]:
    """Listen at `path` for as long as the block lasts and pass requests on to the agent's socket."""
    server = socket.socket(socket.AF_UNIX)
    with short_name(path) as name:
        server.bind(name)
    server.listen()
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []
    accepting = threading.Thread(
        target=_accept, args=(server, agent, threads, connections), name="ssh-agent"
    )
    accepting.start()
    try:
        yield
    finally:
        # Closing doesn't wake up a thread that accepts; shutting down does.
        server.shutdown(socket.SHUT_RDWR)
        accepting.join()
        server.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Give a name of a socket that is short enough: the kernel takes 107 bytes."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _accept(
    server: socket.socket,
    agent: str,
    threads: list[threading.Thread],
    connections: list[socket.socket],
) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        connections.append(client)
        thread = threading.Thread(target=_serve, args=(client, agent), name="ssh-agent-client")
        threads.append(thread)
        thread.start()


def _serve(client: socket.socket, agent: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as upstream, suppress(OSError):
        with short_name(Path(agent)) as name:
            upstream.connect(name)
        while (request := _message(client)) is not None:
            if not request or request[0] not in _ALLOWED:
                client.sendall(_FAILURE)
                continue
            upstream.sendall(_LENGTH.pack(len(request)) + request)
            answer = _message(upstream)
            if answer is None:
                return
            client.sendall(_LENGTH.pack(len(answer)) + answer)


def _message(connection: socket.socket) -> bytes | None:
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    return _exactly(connection, length) if length <= _MOST else None


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            return None
        data += part
    return data
