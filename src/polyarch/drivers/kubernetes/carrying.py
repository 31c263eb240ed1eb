"""The way through an API server to a program in a pod: what a socket says is its standard input, and the other way round.

A thread carries bytes between the socket and the WebSocket. It waits for neither alone, as either may have to be read before
the other one takes more; and it is one thread, since OpenSSL's connections aren't made for two.

Source: Kubernetes' `v4.channel.k8s.io` and `v5.channel.k8s.io`: the first byte of a message is its stream.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any

from websocket import ABNF, WebSocketException

from polyarch.buildkit.lastwords import LastWords

__all__ = ["carry"]

_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255
_V5 = "v5.channel.k8s.io"
_CHUNK = 32 << 10
_QUEUED = 1 << 20
"""Bytes that are held for an end that takes no more; then the other one waits."""
_LEAVE = 5.0
"""Seconds that the far end has for the last bytes and its goodbye when ours is closed: who hangs up at once may lose what was sent."""
_LATER = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def carry(far: Any, words: LastWords) -> socket.socket:
    """Return a socket that leads to the program behind a WebSocket; `words` are told what it prints and how it ended."""
    ours, near = socket.socketpair()
    near.setblocking(False)
    far.settimeout(0)
    threading.Thread(target=_Carrier(far, near, words).run, name="pod").start()
    return ours


class _Carrier:
    """Both directions, and what is held for each."""

    def __init__(self, far: Any, near: socket.socket, words: LastWords) -> None:
        self._far = far
        self._near = near
        self._words = words
        self._to_far = bytearray()
        self._to_near = bytearray()
        self._stream = _STDOUT
        self._deadline: float | None = None
        """Set when our end is closed."""

    def run(self) -> None:
        """Carry until both ends are closed, or either breaks off."""
        try:
            while self._turn():
                pass
        except (OSError, WebSocketException):
            self._words.end("the connection to the pod broke off")
        finally:
            self._near.close()
            self._far.shutdown()

    def _turn(self) -> bool:
        """Wait until there is something to do, and do it; tells whether there will be more."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            return False
        may_read = len(self._to_near) < _QUEUED
        # OpenSSL may hold what was sent already.
        held = may_read and self._far.is_ssl() and self._far.sock.pending() > 0
        ready = self._wait(0 if held else 1000 if self._deadline is not None else None)
        with suppress(*_LATER):
            self._send_far()
        if self._deadline is None:
            self._send_near(ready)
            self._read_near(ready)
        return not may_read or self._read_far()

    def _wait(self, milliseconds: int | None) -> dict[int, int]:
        poll = select.poll()
        far = select.POLLIN if len(self._to_near) < _QUEUED else 0
        poll.register(self._far.sock, far | (select.POLLOUT if self._to_far else 0))
        if self._deadline is None:
            near = select.POLLIN if len(self._to_far) < _QUEUED else 0
            poll.register(self._near, near | (select.POLLOUT if self._to_near else 0))
        return dict(poll.poll(milliseconds))

    # --- to the pod ---

    def _read_near(self, ready: dict[int, int]) -> None:
        if not ready.get(self._near.fileno(), 0) & (select.POLLIN | select.POLLHUP):
            return
        try:
            data = self._near.recv(_CHUNK)
        except _LATER:
            return
        except ConnectionError:
            data = b""
        if data:
            self._queue(bytes((_STDIN,)) + data)
            return
        # Who has closed its end expects nothing more.
        self._deadline = time.monotonic() + _LEAVE
        self._to_near.clear()
        # What the library asked for by a header of its own it doesn't look at in the answer.
        if self._far.getheaders().get("sec-websocket-protocol") == _V5:
            self._queue(bytes((_CLOSE, _STDIN)))
        self._queue((1000).to_bytes(2), ABNF.OPCODE_CLOSE)

    def _queue(self, data: bytes, kind: int = ABNF.OPCODE_BINARY) -> None:
        self._to_far += ABNF.create_frame(data, kind).format()
        with suppress(*_LATER):
            self._send_far()

    def _send_far(self) -> None:
        while self._to_far:
            del self._to_far[: self._far.sock.send(self._to_far)]

    # --- from the pod ---

    def _read_far(self) -> bool:
        """Take all messages that are there; tells whether more may come."""
        while len(self._to_near) < _QUEUED:
            try:
                frame = self._far.recv_frame()
            except _LATER:
                return True
            if frame.opcode == ABNF.OPCODE_CLOSE:
                self._flush_near()
                return False
            if frame.opcode == ABNF.OPCODE_PING:
                self._queue(frame.data, ABNF.OPCODE_PONG)
            elif frame.opcode != ABNF.OPCODE_PONG:
                self._take(frame)
        return True

    def _take(self, frame: Any) -> None:
        data = frame.data
        if frame.opcode != ABNF.OPCODE_CONT:
            self._stream, data = (data[0], data[1:]) if data else (_STDOUT, b"")
        if self._stream == _STDOUT and self._deadline is None:
            self._to_near += data
            self._send_near({self._near.fileno(): select.POLLOUT})
        elif self._stream == _STDERR:
            self._words.hear(data)
        elif self._stream == _STATUS:
            self._words.end(_ending(data))

    def _send_near(self, ready: dict[int, int]) -> None:
        if self._to_near and ready.get(self._near.fileno(), 0) & select.POLLOUT:
            with suppress(*_LATER):
                del self._to_near[: self._near.send(self._to_near)]

    def _flush_near(self) -> None:
        self._near.settimeout(_LEAVE)
        if self._deadline is None:
            self._near.sendall(self._to_near)


def _ending(data: bytes) -> str:
    """Return how a program ended, as its pod's machine tells it; "" if it ended well."""
    try:
        status = json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
    if not isinstance(status, dict) or status.get("status") == "Success":
        return ""
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return f"command terminated with exit code {cause.get('message')}"
    return str(status.get("message") or "")
