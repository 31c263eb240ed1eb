"""The proxy of a step: it reads requests, those inside of TLS as well, asks in the step's place, and notes what it was asked.

Requests go out over the connections that everything of ours uses, so the machine's own proxies, CAs and settings count. Nothing
is changed on the way but the fields that are about a single connection (RFC 9110, section 7.6.1); bodies go through in pieces, in
the coding that they have.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.client import responses
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from polyarch.digest import Digest
from polyarch.errors import PolyarchError
from polyarch.http.connection import Answer, ProtocolError
from polyarch.http.endpoint import Endpoint
from polyarch.http.pools import Pools, proxy_fields
from polyarch.worker.proxied.authority import StepAuthority
from polyarch.worker.proxied.records import Records

__all__ = ["ProxyServer"]

_PIECE = 1 << 16
_LINE = 1 << 16
_PATIENCE = 120.0
_SINGLE = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields of one connection."""


class ProxyServer:
    """Serves one step from a listening socket, each connection in a thread, until its block ends."""

    def __init__(
        self,
        listener: socket.socket,
        authority: StepAuthority,
        endpoint_of: Callable[[str], Endpoint],
        pools: Pools,
    ) -> None:
        self.records = Records()
        self.authority = authority
        self.endpoint_of = endpoint_of
        self.pools = pools
        self._listener = listener
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def serving(self) -> Iterator[Records]:
        """Serve for as long as the block lasts; all that was asked is noted when it has ended."""
        acceptor = threading.Thread(target=self._accept, name="proxy")
        acceptor.start()
        try:
            yield self.records
        finally:
            # Wakes who waits in accept, which closing wouldn't.
            self._listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            with self._lock:
                for each in self._open:
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="proxied")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        try:
            # What the step does to its connection is its own business, and ends it.
            with contextlib.suppress(OSError, ValueError):
                _Requests(connection, self).handle()
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class _Requests(BaseHTTPRequestHandler):
    """The requests of one connection; after CONNECT those that come in TLS to one machine."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, proxy: ProxyServer, target: str = "") -> None:
        # The base class would handle all of it in here.
        self.proxy = proxy
        self.target = target
        self.request = connection
        self.client_address = ("step", 0)
        self.close_connection = True
        self.rfile = connection.makefile("rb")
        self.wfile = connection.makefile("wb")

    def handle_one_request(self) -> None:
        """Read a request, of whatever method, and answer it."""
        self.raw_requestline = self.rfile.readline(_LINE)
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            if self.command == "CONNECT":
                self._go_on_in_tls()
            else:
                self._pass_on()
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests are noted."""

    def _go_on_in_tls(self) -> None:
        """Go on in TLS as the machine that is asked for."""
        host, _, port = self.path.rpartition(":")
        if not host or not port.isdecimal():
            self.send_error(400)
            return
        self.close_connection = True
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        target = host if port == "443" else self.path
        try:
            secure = self.proxy.authority.context(host).wrap_socket(self.request, server_side=True)
        except (OSError, ssl.SSLError):
            # Who doesn't trust us has been told so, and says it.
            self.proxy.records.note("CONNECT", f"https://{target}", 502, None)
            return
        with secure:
            _Requests(secure, self.proxy, target).handle()

    def _pass_on(self) -> None:
        url = f"https://{self.target}{self.path}" if self.target else self.path
        if urlsplit(url).scheme not in {"http", "https"}:
            self.send_error(400, "the proxy of a step is asked for whole addresses")
            return
        begun = False
        try:
            with self._asked(url) as answer:
                begun = True
                digest = self._answer(answer)
                is_whole = self.command == "GET" and answer.status == 200
                self.proxy.records.note(
                    self.command, url, answer.status, digest if is_whole else None
                )
        except (PolyarchError, OSError) as error:
            self.close_connection = True
            self.proxy.records.note(self.command, url, 502, None)
            if not begun:
                self.send_error(502, "Bad Gateway", str(error))

    @contextlib.contextmanager
    def _asked(self, url: str) -> Iterator[Answer]:
        """Send the request to where it is meant for."""
        split = urlsplit(url)
        netloc = split.netloc.rpartition("@")[2]
        pools = self.proxy.pools
        site = pools.site(self.proxy.endpoint_of(netloc), split.scheme, netloc)
        path = (split.path or "/") + (f"?{split.query}" if split.query else "")
        fields = {"Host": netloc, **self._fields(), **proxy_fields(site)}
        target = f"{split.scheme}://{netloc}{path}" if site.is_forwarded else path
        body = self._body()
        connection = pools.take(site)
        try:
            yield connection.exchange(self.command, target, fields, body)
        except BaseException:
            connection.close()
            raise
        pools.give_back(site, connection)

    def _fields(self) -> dict[str, str]:
        named = {part.strip().lower() for part in self.headers.get("Connection", "").split(",")}
        dropped = _SINGLE | named | {"host", "expect", "content-length"}
        found: dict[str, str] = {}
        for name, value in self.headers.items():
            if name.lower() not in dropped:
                found[name] = f"{found[name]}, {value}" if name in found else value
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            found["Transfer-Encoding"] = "chunked"
        elif "Content-Length" in self.headers:
            found["Content-Length"] = self.headers["Content-Length"]
        return found

    def _body(self) -> Iterator[bytes] | bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or len(length) > 18:
            raise ProtocolError(f"a body of the length {length[:60]!r}")
        return self._pieces(int(length)) if int(length) else b""

    def _pieces(self, left: int) -> Iterator[bytes]:
        while left:
            data = self.rfile.read(min(left, _PIECE))
            if not data:
                raise ProtocolError("the step's request broke off")
            left -= len(data)
            yield data

    def _chunks(self) -> Iterator[bytes]:
        """Hand a chunked body on as it is: each chunk with its length."""
        while True:
            line = self.rfile.readline(1024)
            length = int(line.partition(b";")[0].strip() or b"x", 16)
            yield b"%x\r\n" % length
            yield from self._pieces(length)
            yield b"\r\n"
            if length == 0:
                while self.rfile.readline(_PIECE).strip():  # trailers
                    pass
                return
            self.rfile.readline(8)

    def _answer(self, answer: Answer) -> Digest:
        """Give the step an answer; return the digest of its body."""
        self.send_response_only(answer.status, responses.get(answer.status, ""))
        length = answer.fields.get("Content-Length")
        has_body = self.command != "HEAD" and answer.status not in {204, 304}
        for name, value in answer.fields.pairs:
            if name not in _SINGLE:
                self.send_header(name, value)
        is_chunked = has_body and not length
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        found = hashlib.sha256()
        for piece in answer.stream(_PIECE):
            found.update(piece)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
        return Digest(f"sha256:{found.hexdigest()}")
