"""The proxy of a step, spoken to by the standard library's client."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.http.pools import Pools
from polyarch.registry.hosts import Hosts
from polyarch.worker.proxied.authority import StepAuthority
from polyarch.worker.proxied.records import Records
from polyarch.worker.proxied.server import ProxyServer
from tests.support.network.certificates import server_side
from tests.support.network.spies import trusting
from tests.support.network.web import Page, web_server


@dataclass(frozen=True)
class Proxy:
    """A proxy that serves, and what a step knows of it."""

    port: int
    records: Records
    authority: StepAuthority

    def plain(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def secure(self, host: str, *, trusts: bool = True) -> http.client.HTTPSConnection:
        context = ssl.create_default_context()
        # To the letter, as Python's programs ask from 3.13 on.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if trusts:
            context.load_verify_locations(cadata=self.authority.certificate)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=30, context=context
        )
        connection.set_tunnel(host)
        return connection


@contextlib.contextmanager
def serving(hosts: Hosts | None = None) -> Iterator[Proxy]:
    authority, pools = StepAuthority(), Pools({})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = ProxyServer(listener, authority, (hosts or Hosts()).endpoint, pools)
        with server.serving() as records:
            yield Proxy(port, records, authority)
    pools.close()


def asked(
    connection: http.client.HTTPConnection, method: str, url: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Send a request on a connection that stays open."""
    connection.request(method, url, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


@contextlib.contextmanager
def hearing(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Listen for one request with a chunked body, which is noted as it came, and answer it."""
    heard: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                data += connection.recv(1 << 16)
            heard.append(data)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join()


def test_requests_go_on_and_are_noted() -> None:
    with web_server() as web, serving() as proxy:
        web.pages["/file"] = Page(b"text", headers={"X-More": "yes"})
        web.pages["POST /form"] = Page(b"", status=204)
        connection = proxy.plain()

        answers = [
            asked(connection, "GET", f"{web.address}/file"),
            asked(connection, "HEAD", f"{web.address}/file"),
            asked(connection, "GET", f"{web.address}/file?token=hidden"),
            asked(connection, "POST", f"{web.address}/form", b"a=b"),
            asked(connection, "GET", f"{web.address}/nothing"),
        ]
        connection.close()

        assert [status for status, _ in answers] == [200, 200, 200, 204, 404]
        assert answers[0] == (200, b"text")
        assert [each.method for each in web.asked] == ["GET", "HEAD", "GET", "POST", "GET"]
        assert web.asked[3].body == b"a=b"
        assert "Proxy-Connection" not in web.asked[0].headers
    assert proxy.records.text() == (
        "proxy network requests:\n"
        f"- GET {web.address}/file -> 200\n"
        f"- HEAD {web.address}/file -> 200\n"
        f"- GET {web.address}/file?token=xxxxx -> 200\n"
        f"- POST {web.address}/form -> 204\n"
        f"- GET {web.address}/nothing -> 404\n"
    )
    assert proxy.records.fetched() == {f"{web.address}/file": sha256(b"text")}


def test_what_is_in_tls_is_read(certificates: Path) -> None:
    with (
        web_server(server_side(certificates)) as web,
        serving(trusting(web, certificates)) as proxy,
    ):
        web.pages["/file"] = Page(b"text")
        connection = proxy.secure(web.host)

        answers = [asked(connection, "GET", "/file") for _ in range(2)]
        connection.close()

    assert answers == [(200, b"text")] * 2
    assert proxy.records.fetched() == {f"{web.address}/file": sha256(b"text")}


def test_bodies_in_chunks_go_both_ways() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with hearing(answer) as (port, heard), serving() as proxy:
        connection = proxy.plain()
        connection.request(
            "POST",
            f"http://127.0.0.1:{port}/pack",
            iter([b"one", b"two"]),
            encode_chunked=True,
            headers={"Transfer-Encoding": "chunked"},
        )
        found = connection.getresponse().read()
        connection.close()

    assert found == b"ok"
    [request] = heard
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /pack HTTP/1.1\r\n")
    assert (b"Transfer-Encoding: chunked" in head, b"Content-Length" in head) == (True, False)
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_who_does_not_trust_the_proxy_is_told_of() -> None:
    with serving() as proxy, pytest.raises(ssl.SSLCertVerificationError):
        proxy.secure("files.example", trusts=False).connect()

    assert proxy.records.text().endswith("- CONNECT https://files.example -> 502\n")


@pytest.mark.parametrize(
    ("url", "status", "text"),
    [
        ("http://nobody.invalid/a", 502, "- GET http://nobody.invalid/a -> 502\n"),
        ("/a", 400, ""),
        ("ftp://files.example/a", 400, ""),
    ],
)
def test_what_leads_nowhere(url: str, status: int, text: str) -> None:
    with serving() as proxy:
        found, _ = asked(proxy.plain(), "GET", url)

    assert found == status
    assert proxy.records.text().endswith(text)


def test_nothing_secret_is_told_of_an_address() -> None:
    records = Records()

    records.note("GET", "https://me:secret@a.example/p?sig=secret#part", 200, sha256(b""))
    records.note("GET", "https://me:secret@a.example/q#part", 200, sha256(b""))

    assert records.text().splitlines()[1:] == [
        "- GET https://a.example/p?sig=xxxxx -> 200",
        "- GET https://a.example/q -> 200",
    ]
    assert list(records.fetched()) == ["https://a.example/q"]
