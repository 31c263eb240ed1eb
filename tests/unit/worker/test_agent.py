from __future__ import annotations

import os
import socket
from pathlib import Path

from polyarch.worker.agent import forward_agent


def test_an_agent_is_reached_through_a_path_longer_than_a_socket_address(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(f"\0polyarch-test-{os.getpid()}")
        agent.listen()

        with forward_agent(f"\0polyarch-test-{os.getpid()}", folder / "agent"):
            client = socket.socket(socket.AF_UNIX)
            descriptor = os.open(folder, os.O_PATH)
            client.connect(f"/proc/self/fd/{descriptor}/agent")
            os.close(descriptor)
            client.sendall(b"\x00\x00\x00\x01\x0b")
            upstream, _ = agent.accept()
            with client, upstream:
                assert upstream.recv(16) == b"\x00\x00\x00\x01\x0b"
