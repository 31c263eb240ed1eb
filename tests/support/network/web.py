"""A web server on a free port that serves what a test puts into it, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Asked", "Page", "WebServer", "listening", "web_server"]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer; `after` are statuses that come before it, one for each request."""

    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    path: str
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""
    showed_certificate: bool = False
    """Whether whoever asked proved by a certificate of their own who they are."""

    @property
    def authorization(self) -> str:
        """What it said of who asks."""
        return self.headers.get("Authorization", "")


@dataclass(slots=True)
class WebServer:
    """Pages by path, or by method and path; with an `ETag`, `If-None-Match` is honoured."""

    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    @property
    def host(self) -> str:
        """Its name and port."""
        return self.address.partition("://")[2]

    def answer(self, asked: Asked) -> Page:
        """Return what to say to a request."""
        number = sum(1 for each in self.asked if each.path == asked.path)
        self.asked.append(asked)
        bare = asked.path.partition("?")[0]
        known = (f"{asked.method} {bare}", asked.path, bare)
        nothing = Page(b"nothing here\n", status=404)
        page = next((self.pages[key] for key in known if key in self.pages), nothing)
        if number < len(page.after):
            return Page(status=page.after[number])
        tag = page.headers.get("ETag")
        if tag is not None and asked.headers.get("If-None-Match") == tag:
            return Page(status=304, headers={"ETag": tag})
        return page


@contextlib.contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Serve for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            proof = (
                self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else {}
            )
            headers = dict(self.headers.items())
            page = web.answer(Asked(self.path, headers, self.command, body, bool(proof)))
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page.body)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - as the base class has them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(Handler, tls) as address:
        web = WebServer(address=address)
        yield web


@contextlib.contextmanager
def listening(
    handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Have requests answered on a port of this machine for the time of the block; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            scheme = "http" if tls is None else "https"
            yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
