"""A web server on a free port that serves what a test puts into it, and remembers what it was asked."""

from __future__ import annotations

import contextlib
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


@dataclass(slots=True)
class WebServer:
    """Pages by path; with an `ETag`, `If-None-Match` is honoured."""

    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, path: str, headers: Mapping[str, str]) -> Page:
        """Return what to say to a request."""
        number = sum(1 for each in self.asked if each.path == path)
        self.asked.append(Asked(path, dict(headers)))
        page = self.pages.get(path, Page(b"nothing here\n", status=404))
        if number < len(page.after):
            return Page(status=page.after[number])
        tag = page.headers.get("ETag")
        if tag is not None and headers.get("If-None-Match") == tag:
            return Page(status=304, headers={"ETag": tag})
        return page


@contextlib.contextmanager
def web_server() -> Iterator[WebServer]:
    """Serve for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            page = web.answer(self.path, dict(self.headers.items()))
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(Handler) as address:
        web = WebServer(address=address)
        yield web


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Have requests answered on a port of this machine for the time of the block; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
