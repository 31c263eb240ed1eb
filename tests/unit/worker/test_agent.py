from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyarch.worker.agent import forward_agent

LIST_KEYS = b"\x00\x00\x00\x01\x0b"


@contextmanager
def near(path: Path) -> Iterator[str]:
    """Give a name of a socket as short as the kernel wants it."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def test_an_agent_is_reached_through_paths_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    with socket.socket(socket.AF_UNIX) as agent, socket.socket(socket.AF_UNIX) as client:
        agent.settimeout(30)
        with near(deep / "real") as name:
            agent.bind(name)
        agent.listen()

        with forward_agent(str(deep / "real"), deep / "forwarded"):
            with near(deep / "forwarded") as name:
                client.connect(name)
            client.sendall(LIST_KEYS)
            upstream, _ = agent.accept()
            with upstream:
                assert upstream.recv(16) == LIST_KEYS
