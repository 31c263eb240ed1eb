"""A socket to a host of several addresses, of which not all may answer.

Of many machines only one family of addresses works, and what is sent to the other is lost without a word. So the next
address is tried a moment after the one before it, and the first that answers counts. Source: RFC 8305, without its lookups.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable
from itertools import zip_longest

__all__ = ["connect"]

_TIME = 30.0
_MOMENT = 0.25
"""Seconds after which the next address is tried as well."""
_Address = tuple[int, int, int, str, object]
"""What getaddrinfo gives: family, kind, protocol, canonical name, address."""


def connect(name: str, port: int) -> socket.socket:
    """Connect to the first address of a host that answers. Raises OSError."""
    # Only bytes are looked up without loading the tables of international names, a hundredth of a second.
    host = name.encode("ascii" if name.isascii() else "idna")
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    return _Race(_mixed(found)).run()


def _mixed(found: Iterable[_Address]) -> list[_Address]:
    """Return addresses with their families by turns, that of the first one first."""
    families: dict[int, list[_Address]] = {}
    for each in found:
        families.setdefault(each[0], []).append(each)
    turns = zip_longest(*families.values())
    return [each for turn in turns for each in turn if each is not None]


class _Race:
    """Connections on their way, of which one will be kept."""

    def __init__(self, addresses: list[_Address]) -> None:
        self._left = addresses
        self._poll = select.poll()
        self._running: dict[int, socket.socket] = {}
        self._failure: OSError | None = None

    def run(self) -> socket.socket:
        """Return the first one that stands, the others closed. Raises OSError."""
        deadline = time.monotonic() + _TIME
        try:
            while self._left or self._running:
                if self._left:
                    self._start(self._left.pop(0))
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError("timed out")
                if (
                    sock := self._wait(min(_MOMENT, remaining) if self._left else remaining)
                ) is not None:
                    return sock
        finally:
            for sock in self._running.values():
                sock.close()
        raise self._failure or OSError("the host has no address")

    def _start(self, address: _Address) -> None:
        family, kind, protocol, _, where = address
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine doesn't know
            self._failure = error
            return
        sock.setblocking(False)
        self._running[sock.fileno()] = sock
        try:
            sock.connect(where)  # type: ignore[arg-type]
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(sock.fileno(), error)
            return
        self._poll.register(sock, select.POLLOUT)

    def _wait(self, seconds: float) -> socket.socket | None:
        """Return the connection that stands first within so many seconds."""
        if not self._running:
            return None
        for number, _ in self._poll.poll(seconds * 1000):
            self._poll.unregister(number)
            status = self._running[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not status:
                sock = self._running.pop(number)
                sock.settimeout(_TIME)
                return sock
            self._fail(number, OSError(status, os.strerror(status)))
        return None

    def _fail(self, number: int, error: OSError) -> None:
        self._failure = error
        self._running.pop(number).close()
