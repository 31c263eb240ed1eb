from __future__ import annotations

import hashlib
import http.server
import io
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polyarch.engine.docker import DockerEngine, find_address, find_engine
from polyarch.errors import InputError, MachineError, NotFound

ARCHIVE = b"an archive" * 1000


class _Server(socketserver.ThreadingUnixStreamServer):
    """An engine that answers as it is told, and keeps what it was sent."""

    daemon_threads = False
    info: dict[str, Any]
    answer: tuple[int, bytes]
    received: bytes = b""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        self._say(200, json.dumps(self.server.info).encode())

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.received = self.rfile.read(int(self.headers["Content-Length"]))
        self._say(*self.server.answer)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    with _Server(str(tmp_path / "sock"), _Handler) as running:
        running.info, running.answer = {}, (200, b'{"stream": "Loaded image: x"}\r\n')
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def engine(server: _Server) -> DockerEngine:
    return DockerEngine(address=f"unix://{server.server_address}")


def test_an_image_is_given_whole(engine: DockerEngine, server: _Server) -> None:
    engine.load(io.BytesIO(ARCHIVE), len(ARCHIVE))

    assert server.received == ARCHIVE


def test_an_answer_without_an_end(engine: DockerEngine, server: _Server) -> None:
    server.answer = (200, bytes((16 << 20) + 1))

    with pytest.raises(MachineError, match="a body of more than the 16777216 bytes allowed"):
        engine.load(io.BytesIO(ARCHIVE), len(ARCHIVE))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((200, b'{"stream": "..."}\n{"error": "no space left"}\n'), "no space left"),
        ((500, b'{"message": "broken"}'), "broken"),
        ((503, b"not json"), "status 503"),
    ],
)
def test_a_refused_image(
    engine: DockerEngine, server: _Server, answer: tuple[int, bytes], why: str
) -> None:
    server.answer = answer

    with pytest.raises(MachineError, match=f"refused the image: {why}$"):
        engine.load(io.BytesIO(ARCHIVE), len(ARCHIVE))


def test_an_engine_says_whether_it_holds_indexes(engine: DockerEngine, server: _Server) -> None:
    assert not engine.holds_indexes()
    server.info = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    assert engine.holds_indexes()


def _context(directory: Path, name: str, host: str) -> None:
    place = directory / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    place.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (place / "meta.json").write_text(json.dumps(meta))


def test_addresses(tmp_path: Path) -> None:
    here = {"DOCKER_CONFIG": str(tmp_path)}
    _context(tmp_path, "mine", "unix:///mine")
    usual = "unix:///var/run/docker.sock"
    assert find_address(here) == (usual, False)
    assert find_address({**here, "DOCKER_HOST": "tcp://there:1"}) == ("tcp://there:1", True)
    assert find_address({**here, "DOCKER_CONTEXT": "mine"}) == ("unix:///mine", True)
    assert find_address({**here, "DOCKER_HOST": "tcp://x"}, "mine") == ("unix:///mine", True)
    assert find_address({**here, "DOCKER_CONTEXT": "default"}) == (usual, False)
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    assert find_address(here) == ("unix:///mine", True)


def test_an_unknown_context(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match='context "nobody": context not found'):
        find_address({"DOCKER_CONFIG": str(tmp_path)}, "nobody")


def test_an_engine_that_was_asked_for_must_listen(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/nobody"

    with pytest.raises(MachineError, match=f"Cannot connect to the Docker daemon at {address}"):
        find_engine({"DOCKER_HOST": address})


def test_an_engine_by_tcp(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        assert find_engine({"DOCKER_HOST": address}) == DockerEngine(address=address)


def test_an_engine_by_ssh_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="ssh://there can't be given images yet"):
        find_engine({"DOCKER_HOST": "ssh://there"})
