from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from polyarch.engine.dialing import Address
from polyarch.engine.docker import DockerEngine, find_address, find_engine
from polyarch.errors import Cancelled, InputError, MachineError, NotFound
from polyarch.exporter.outputs import EngineKind
from polyarch.oci.reference import parse
from polyarch.platforms import linux
from polyarch.progress import CancelToken, cancellable
from tests.support.network.certificates import make_certificates, server_side

ARCHIVE = b"an archive" * 1000


class _Server(socketserver.ThreadingUnixStreamServer):
    """An engine that answers as it is told, and keeps what it was sent."""

    daemon_threads = False
    info: dict[str, Any]
    answer: tuple[int, bytes]
    received: bytes = b""
    asked: list[str]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server | _TLS)
        if isinstance(self.server, _Server) and self.server.answer[0] >= 400:
            self._say(*self.server.answer)
        else:
            self._say(200, json.dumps(self.server.info).encode())

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.asked.append(self.path)
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
        running.info, running.asked, running.answer = (
            {},
            [],
            (200, b'{"stream": "Loaded image: x"}\r\n'),
        )
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def engine(server: _Server) -> DockerEngine:
    return DockerEngine(address=Address(url=f"unix://{server.server_address}"))


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


@pytest.mark.parametrize(
    ("answer", "why", "hint"),
    [
        (
            (400, b"Client sent an HTTP request to an HTTPS server.\n"),
            "speaks TLS",
            "DOCKER_CERT_PATH",
        ),
        ((403, b'{"message": "authorization denied"}'), "with authorization denied$", ""),
    ],
)
def test_an_engine_that_does_not_answer_questions(
    engine: DockerEngine, server: _Server, answer: tuple[int, bytes], why: str, hint: str
) -> None:
    server.answer = answer

    with pytest.raises(MachineError, match=why) as caught:
        engine.kind()

    assert hint in caught.value.hint


def test_an_engine_that_says_nothing_is_left_when_the_build_ends(tmp_path: Path) -> None:
    token = CancelToken()
    engine = DockerEngine(address=Address(url=f"unix://{tmp_path}/mute"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "mute"))
        listener.listen()

        def hear() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1)
                token.cancel()
                # The other side hangs up by itself.
                while peer.recv(1 << 16):
                    pass

        thread = threading.Thread(target=hear)
        thread.start()
        with cancellable(token), pytest.raises(Cancelled):
            engine.load(io.BytesIO(ARCHIVE), len(ARCHIVE))
        thread.join()


def test_an_engine_says_what_it_keeps(engine: DockerEngine, server: _Server) -> None:
    assert engine.kind() is EngineKind.SINGLE
    server.info = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    assert engine.kind() is EngineKind.INDEXES


def test_an_engine_says_what_it_runs(engine: DockerEngine, server: _Server) -> None:
    server.info = {"Os": "linux", "Arch": "arm64"}

    assert engine.platform() == linux("arm64")


def test_a_name_is_given(engine: DockerEngine, server: _Server) -> None:
    engine.give_names([parse("you/app:v1")], ["sha256:1234"])

    assert server.asked == ["/images/sha256:1234/tag?repo=you%2Fapp&tag=v1"]


def _context(directory: Path, name: str, host: str) -> None:
    place = directory / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    place.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (place / "meta.json").write_text(json.dumps(meta))


def test_addresses(tmp_path: Path) -> None:
    here = {"DOCKER_CONFIG": str(tmp_path)}
    _context(tmp_path, "mine", "unix:///mine")
    usual = ("unix:///var/run/docker.sock", False)

    def found(context: str = "", **environ: str) -> tuple[str, bool]:
        address = find_address({**here, **environ}, context)
        assert address.certificates is None
        return address.url, address.is_wanted

    assert found() == usual
    assert found(DOCKER_HOST="unix:///var/run/docker.sock") == usual
    assert found(DOCKER_HOST="tcp://there:1") == ("tcp://there:1", True)
    assert found(DOCKER_CONTEXT="mine") == ("unix:///mine", True)
    assert found("mine", DOCKER_HOST="tcp://x") == ("unix:///mine", True)
    assert found(DOCKER_CONTEXT="default") == usual
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    assert found() == ("unix:///mine", True)


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
        assert find_engine({"DOCKER_HOST": address}) == DockerEngine(
            address=Address(url=address, is_wanted=True)
        )


class _TLS(http.server.HTTPServer):
    info: ClassVar[dict[str, Any]] = {}


def test_an_engine_by_tls(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    (tmp_path / "ca.crt").rename(tmp_path / "ca.pem")
    shutil.copy(tmp_path / "ca.pem", tmp_path / "ca.crt")
    environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with _TLS(("127.0.0.1", 0), _Handler) as server:
        server.socket = server_side(tmp_path).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"tcp://127.0.0.1:{server.server_port}"
        try:
            engine = find_engine({**environ, "DOCKER_HOST": address})
            assert engine is not None
            assert engine.kind() is EngineKind.SINGLE
            with pytest.raises(MachineError, match="certificate verify failed"):
                find_engine(
                    {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CONFIG": "/nowhere"}
                )
        finally:
            server.shutdown()
            thread.join()


_SSH = """#!/bin/sh
echo "$@" > "$0.said"
exec python3 -c '
import socket, sys, threading, os
there = socket.socket(socket.AF_UNIX)
there.connect(sys.argv[1])
def back():
    while data := there.recv(65536):
        os.write(1, data)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    there.sendall(data)
' {socket}
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `ssh` on the path, which leads to `tmp_path/sock`."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(_SSH.replace("{socket}", str(tmp_path / "sock")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_an_engine_by_ssh(server: _Server, ssh: Path, tmp_path: Path) -> None:
    address = "ssh://me@there:2222"

    engine = find_engine({"DOCKER_HOST": address, "HOME": str(tmp_path)})
    assert engine is not None
    engine.load(io.BytesIO(ARCHIVE), len(ARCHIVE))

    assert server.received == ARCHIVE
    assert engine.name == f"docker at {address}"
    said = ssh.with_name("ssh.said").read_text()
    assert said.startswith("-o ConnectTimeout=30 -o BatchMode=yes -T -l me -p 2222 ")
    assert said.endswith(" -- there docker system dial-stdio\n")


def test_a_machine_that_ssh_does_not_reach(ssh: Path) -> None:
    ssh.write_text("#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n")

    with pytest.raises(MachineError, match=r"at ssh://there: Permission denied \(publickey\)"):
        find_engine({"DOCKER_HOST": "ssh://there"})


@pytest.mark.parametrize("url", ["ssh://-oProxyCommand=x", "ssh://me:secret@there", "npipe://x"])
def test_addresses_that_lead_nowhere(url: str) -> None:
    with pytest.raises(InputError, match=r"no address of a machine|can't be given images"):
        find_engine({"DOCKER_HOST": url})
