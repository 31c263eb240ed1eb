"""A proxy in front of a real registry that does it wrong where it is told to."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Fault", "FaultProxy", "fault_proxy"]

_PIECE = 1 << 16
_DROPPED = frozenset({"connection", "transfer-encoding", "host"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to the next request whose `METHOD path` the pattern `on` finds; once.

    `status` is answered, with `headers`, in the registry's place, before any of the body is read. The connection is
    reset after `sent` bytes of the body were passed on, or after `got` bytes of the answer. `spoil` changes the
    answer's byte at that place. With `holds` the proxy takes the whole body before the registry sees any, as
    those of large sites do. With `mute` nothing is answered, and the registry hears of nothing. A fault with none of these lets a request pass.
    """

    on: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    got: int | None = None
    spoil: int | None = None
    holds: bool = False
    mute: bool = False


class FaultProxy(ThreadingHTTPServer):
    """`faults` come to pass in their order; `requests` and `authorizations` are what it was asked for, and by whom."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: connections are meant to break."""

    def fault(self, line: str) -> Fault | None:
        """Note a request and return what is to happen to it."""
        with self.lock:
            self.requests.append(line)
            for number, fault in enumerate(self.faults):
                if re.search(fault.on, line):
                    return self.faults.pop(number)
        return None


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Run a proxy for the time of a block."""
    proxy = FaultProxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def __getattr__(self, name: str) -> object:
        """Serve all methods alike: the base class looks for `do_` and the method."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        fault = self.server.fault(f"{self.command} {self.path}") or Fault(on="")
        self.server.authorizations.append(self.headers.get("Authorization", ""))
        if fault.status:
            self._refuse(fault)
            return
        if fault.mute:
            self.close_connection = True
            while self.rfile.read1(_PIECE):
                pass
            return
        upstream = http.client.HTTPConnection(self.server.upstream)
        try:
            if not self._pass_on(upstream, fault):
                self._reset()
                return
            answer = upstream.getresponse()
            self._answer(answer, fault)
        finally:
            upstream.close()

    def _refuse(self, fault: Fault) -> None:
        self.close_connection = True
        self.send_response(fault.status)
        for name, value in {"Content-Length": "0", "Connection": "close", **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        # Who hangs up on somebody who still sends has the answer lost.
        self.wfile.flush()
        left = int(self.headers.get("Content-Length") or 0)
        while left and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)

    def _pass_on(self, upstream: http.client.HTTPConnection, fault: Fault) -> bool:
        left = int(self.headers.get("Content-Length") or 0)
        is_broken = fault.sent is not None and fault.sent < left
        if fault.holds and is_broken:
            self.rfile.read(fault.sent)
            return False
        # The registry makes its addresses of this name, and so they lead here.
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        upstream.putheader("Host", self.headers["Host"])
        for name, value in self.headers.items():
            if name.lower() not in _DROPPED:
                upstream.putheader(name, value)
        upstream.endheaders()
        most = fault.sent if is_broken and fault.sent is not None else left
        while most and (piece := self.rfile.read(min(most, _PIECE))):
            most -= len(piece)
            upstream.send(piece)
        return not is_broken

    def _answer(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.end_headers()
        data = answer.read()
        if fault.got is not None and fault.got < len(data):
            self.wfile.write(data[: fault.got])
            self.wfile.flush()
            self._reset()
        elif fault.spoil is not None:
            self.wfile.write(data[: fault.spoil] + b"?" + data[fault.spoil + 1 :])
        else:
            self.wfile.write(data)

    def _reset(self) -> None:
        """Close the connection so that the other side gets an RST, not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.close()
