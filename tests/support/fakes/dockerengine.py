"""A Docker engine that keeps its containers in memory and runs nothing in them but what a test gives it.

With `WITH_CONTAINERD` as its `info` it is one with containerd's store: what it says of itself, and that it knows an image by
the digest that its name stands for, is what Docker 26.1.5 of Debian 13 was seen to say and do.
"""

from __future__ import annotations

import http.server
import io
import json
import socket
import socketserver
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from polyarch.threads import side_by_side

__all__ = ["WITH_CONTAINERD", "FakeDocker", "fake_docker", "frame"]

Run = Callable[[list[str]], tuple[int, bytes, bytes]]
_CHUNK = 1 << 16
_NAME = "io.containerd.image.name"
WITH_CONTAINERD: Mapping[str, Any] = {
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "CgroupDriver": "cgroupfs",
}


def frame(stream: int, data: bytes) -> bytes:
    """Return what a program prints in the form in which the engine passes it on."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4) + data


@dataclass(kw_only=True)
class FakeDocker:
    """What the engine has, and what it was asked; `behind` is the socket of the daemon in its containers.

    `loaded` are the digests that names stand for which came with archives.
    """

    path: Path
    behind: Path | None = None
    images: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=lambda: {"CgroupDriver": "cgroupfs"})
    loaded: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    run: Run = lambda words: (0, b"", b"")
    has_buildkit: bool = True
    execs: list[tuple[str, list[str]]] = field(default_factory=list)
    status: int = 0

    @property
    def address(self) -> str:
        return f"unix://{self.path}"

    def files(self, name: str) -> Mapping[str, bytes]:
        """Return the files that were copied into a container."""
        with tarfile.open(fileobj=io.BytesIO(self.containers[name]["files"])) as archive:
            return {
                member.name: file.read()
                for member in archive
                if (file := archive.extractfile(member)) is not None
            }


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    docker: FakeDocker

    def handle_error(self, request: object, client_address: object) -> None:
        """Be silent about clients that have hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def docker(self) -> FakeDocker:
        assert isinstance(self.server, _Server)
        return self.server.docker

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.docker.asked.append(f"{self.command} {url.path}")
        words = unquote(url.path).strip("/").split("/")
        kinds = {"containers": self._containers, "exec": self._execs, "images": self._images}
        if words == ["info"]:
            self._say(200, self.docker.info)
        elif words == ["grpc"] and self.docker.has_buildkit:
            self._lead_on()
        elif words[0] == "volumes":
            is_there = words[1] in self.docker.volumes
            self.docker.volumes.discard(words[1])
            self._find(is_there, {})
        elif words[0] in kinds:
            kinds[words[0]](words[1:], query, body)
        else:
            self._find(False, {})

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 names of the standard library

    def _images(self, words: list[str], query: dict[str, str], body: bytes) -> None:
        if words == ["create"]:
            self._pull(f"{query['fromImage']}:{query['tag']}")
        elif words == ["load"]:
            self._load(body)
        else:
            self._find("/".join(words[:-1]) in self.docker.images, {})

    def _load(self, body: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            listed = archive.extractfile("index.json")
            assert listed is not None
            entries = json.load(listed)["manifests"]
        named = {each["annotations"][_NAME]: each["digest"] for each in entries}
        self.docker.loaded |= named
        said = [{"stream": f"Loaded image: {name}\n"} for name in named]
        self._send(200, b"".join(json.dumps(each).encode() + b"\r\n" for each in said))

    def _execs(self, words: list[str], query: dict[str, str], body: bytes) -> None:
        if words[1] == "start":
            self._exec(self.docker.execs[int(words[0])][1])
        else:
            self._say(200, {"ExitCode": self.docker.status})

    def _containers(self, words: list[str], query: dict[str, str], body: bytes) -> None:
        if words == ["create"]:
            self._create(query["name"], json.loads(body))
        elif words[0] not in self.docker.containers:
            self._find(False, {})
        elif words[1:] == ["exec"]:
            self.docker.execs.append((words[0], json.loads(body)["Cmd"]))
            self._say(201, {"Id": str(len(self.docker.execs) - 1)})
        else:
            self._container(words[0], words[1:], body)

    def _container(self, name: str, rest: list[str], body: bytes) -> None:
        found = self.docker.containers[name]
        match self.command, rest:
            case "GET", ["json"]:
                self._say(200, {"State": {"Running": found["running"]}})
            case "GET", ["logs"]:
                self._send(200, frame(1, b"its last words\n"))
            case "POST", ["start" | "stop" as wish]:
                found["running"] = wish == "start"
                self._say(204, None)
            case "PUT", ["archive"]:
                found["files"] = body
                self._say(200, None)
            case _:
                del self.docker.containers[name]
                self._say(204, None)

    def _create(self, name: str, document: dict[str, Any]) -> None:
        self.docker.containers[name] = {"running": False, "document": document}
        self.docker.volumes |= {each["Source"] for each in document["HostConfig"]["Mounts"]}
        self._say(201, {"Id": name})

    def _pull(self, name: str) -> None:
        self._send(200, json.dumps({"status": "Pulling"}).encode() + b"\r\n" + (
            b"" if name in self.docker.images else b'{"error": "no such host"}\r\n'
        ))  # fmt: skip

    def _exec(self, words: list[str]) -> None:
        if words[-1] == "dial-stdio":
            self._lead_on(framed=True)
            return
        self.docker.status, output, errors = self.docker.run(words)
        self._upgrade()
        self.wfile.write(frame(1, output) + frame(2, errors))

    def _upgrade(self) -> None:
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.close_connection = True

    def _lead_on(self, *, framed: bool = False) -> None:
        """Lead to the daemon behind the engine, until either end hangs up."""
        if self.docker.behind is None:
            self._say(409, {"message": "nothing runs there"})
            return
        self._upgrade()
        with socket.socket(socket.AF_UNIX) as behind:
            behind.connect(str(self.docker.behind))

            def there() -> None:
                while data := self.connection.recv(_CHUNK):
                    behind.sendall(data)
                behind.shutdown(socket.SHUT_RDWR)

            def back() -> None:
                while data := behind.recv(_CHUNK):
                    self.connection.sendall(frame(1, data) if framed else data)
                self.connection.shutdown(socket.SHUT_RDWR)

            try:
                side_by_side([there, back], 2, name="behind")
            except OSError:
                return

    def _find(self, is_there: bool, document: object) -> None:
        if is_there:
            self._say(200, document)
        else:
            self._say(404, {"message": f"No such thing: {urlsplit(self.path).path}"})

    def _say(self, status: int, document: object) -> None:
        self._send(status, b"" if document is None else json.dumps(document).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def fake_docker(directory: Path) -> Iterator[FakeDocker]:
    """Give an engine that listens at a socket in `directory`."""
    docker = FakeDocker(path=directory / "docker.sock")
    with _Server(str(docker.path), _Handler) as server:
        server.docker = docker
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield docker
        finally:
            server.shutdown()
            thread.join()
