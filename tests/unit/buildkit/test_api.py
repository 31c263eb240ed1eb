"""What is said of daemons that can't be spoken to."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from h2.connection import H2Connection

from polyarch.buildkit.address import Target
from polyarch.buildkit.api import SolveFailed
from polyarch.buildkit.build import Remote
from polyarch.buildkit.nodes import ask, look_at
from polyarch.wire import field
from tests.support.network.buildkitserver import remote_at
from tests.support.network.certificates import make_certificates, server_side
from tests.support.network.daemons import answer, daemon, hang_up


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Give the address of a server that answers one connection after another."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    with connection, suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def secured(directory: Path, *, asks: bool) -> Callable[[socket.socket], None]:
    """Return a server's side of TLS, that may ask for the client's certificate."""
    context = server_side(directory)
    context.set_alpn_protocols(["h2"])
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as spoken:
            spoken.recv(100)

    return answer


HUNG_UP = "can't be reached: it hung up without an answer, as who wants TLS"


def test_a_daemon_that_is_not_one() -> None:
    with listening(lambda connection: connection.sendall(b"HTTP/1.1 400 no\r\n\r\n")) as address:
        assert HUNG_UP in look_at(remote_at(address)).error


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "echo 'Permission denied (publickey).' >&2; exit 255",
            "hung up: Permission denied (publickey).",
        ),
        ("seq 3000 >&2", "hung up: 2998; 2999; 3000"),
        ("true", HUNG_UP),
    ],
)
def test_a_program_that_does_not_lead_there_says_why(script: str, told: str) -> None:
    remote = Remote(address="ssh://here", target=Target(program=("sh", "-c", script)), environ={})

    error = look_at(remote).error

    assert error.startswith(f"the builder at ssh://here {told}")


def test_certificates_that_do_not_do(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    (tmp_path / "others").mkdir()
    make_certificates(tmp_path / "others")
    trust = {"cacert": str(tmp_path / "ca.crt")}
    with listening(secured(tmp_path, asks=False)) as address:
        unknown = {"cacert": str(tmp_path / "others" / "ca.crt")}
        other = {**trust, "servername": "other.example"}
        gone = {"cacert": str(tmp_path / "none")}
        told = [look_at(remote_at(address, each)).error for each in (unknown, other, gone, {})]
    with listening(secured(tmp_path, asks=True)) as address:
        told.append(look_at(remote_at(address, trust)).error)

    assert "its certificate isn't trusted: " in told[0]
    assert "Hostname mismatch, certificate is not valid for 'other.example'" in told[1]
    assert told[2] == f"the file {tmp_path}/none of the builder's option cacert can't be read"
    assert HUNG_UP in told[3]
    assert HUNG_UP in told[4]


def test_an_address_where_nobody_is() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        told = look_at(remote_at(address)).error

    assert told == f"the builder at {address} can't be reached: Connection refused"


def test_an_error_has_its_place_in_the_dockerfile(tmp_path: Path) -> None:
    data = base64.b64encode(b"FROM scratch\nRUN false\n").decode()
    source = {
        "info": {"filename": "Dockerfile", "data": data},
        "ranges": [{"start": {"line": 2}, "end": {"line": 2}}],
    }
    kind = "github.com/moby/buildkit/errdefs.Source+json"
    detail = field(1, kind) + field(2, json.dumps(source).encode())
    status = base64.b64encode(field(1, 2) + field(2, "no") + field(3, detail)).decode()

    def fail(connection: socket.socket, h2: H2Connection, stream: int) -> None:
        told = {"grpc_status": "2", "grpc_message": "no", "grpc_status_details_bin": status}
        answer(connection, h2, stream, **told)
        hang_up(connection)

    path = tmp_path / "d.sock"
    with daemon(path, fail), pytest.raises(SolveFailed, match=r"^no$") as raised:
        ask(remote_at(f"unix://{path}"), lambda api: api.version())

    assert raised.value.place is not None
    assert ">>> RUN false\n" in raised.value.place.excerpt()
