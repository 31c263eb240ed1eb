"""HTTP/1.1 on one connection: a request out, an answer in; who is connected to is `pools`' matter.

A client of our own because of its start: an unchanged rebuild asks a registry four short questions, and
loading urllib3 or http.client (with the parsers of e-mail under it) takes longer than asking them. What
registries need is a small part of HTTP: bodies of known length, chunked ones, ones that end with the
connection, and interim answers. Bodies come as they are, since no encoding of them is asked for.

Whatever goes wrong is an OSError: the socket's own, or a `ProtocolError`.

Source: RFC 9110 and RFC 9112.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from itertools import chain
from typing import cast

from polyarch.record import frozen

__all__ = ["Answer", "Connection", "Fields", "ProtocolError", "Upgraded"]

_LINE_LIMIT = 1 << 16
_FIELDS_LIMIT = 200
"""Lines of a head; registries send about twenty."""
_HEAD_LIMIT = 1 << 18
"""Bytes of a head, and of trailers; whatever servers send stays below a tenth of that."""
_INTERIM_LIMIT = 20
_CHUNK_LINE_LIMIT = 1 << 10
"""Bytes of the line before a chunk, extensions included, which nobody uses: else one byte could cost 64 KiB."""
_LENGTH_DIGITS = 18
_SKIP_LIMIT = 1 << 20
"""A rest of a body that is longer is not read for the sake of keeping the connection."""
_SKIP_TIME = 1.0
"""Seconds; a rest that takes longer costs more than another connection."""
_PIECE = 1 << 16
_NO_BODY = frozenset({204, 304})
_SWITCHING = 101
_STATUS_AT = len("HTTP/1.1 ")


class ProtocolError(OSError):
    """The other side doesn't speak HTTP, or stopped in the middle."""

    def __str__(self) -> str:
        return str(self.args[0])


@frozen
class Fields:
    """The header fields of an answer, in their order; names in lower case."""

    pairs: tuple[tuple[str, str], ...]

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a field."""
        return next(iter(self.all(name)), default)

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a field."""
        lower = name.lower()
        return tuple(value for key, value in self.pairs if key == lower)


@frozen
class Upgraded:
    """A connection that isn't HTTP's any more: its socket, which doesn't wait, and what it said already.

    `says_nothing` is raised by a read that would have to wait. Whoever has it closes the connection that it came of.
    """

    socket: socket.socket
    first: bytes
    says_nothing: type[OSError]


class Connection:
    """An open connection. One exchange at a time: the answer's body is read to its end, or dropped."""

    def __init__(
        self, sock: socket.socket, *, says_nothing: type[OSError] = BlockingIOError
    ) -> None:
        """Take over an open socket; `says_nothing` is raised by a read that would have to wait."""
        self._socket = sock
        self._says_nothing = says_nothing
        self._file = cast("BufferedReader", sock.makefile("rb", 1 << 16))
        self.is_kept = False
        """Whether another request may follow; known once an answer has been read to its end."""

    def exchange(
        self, method: str, target: str, fields: Mapping[str, str], body: bytes | Iterable[bytes]
    ) -> Answer:
        """Send a request and return the answer's head, its body still to be read.

        Who says no before all was sent gets no more of it. `fields` has to hold `Host` and, with a body, its length.
        Raises OSError.
        """
        self.is_kept = False
        head = _request_head(method, target, fields)
        # One packet, as far as it goes, for what isn't made piece by piece.
        is_begun = False
        for piece in (head + body,) if isinstance(body, bytes) else chain((head,), body):
            if is_begun and self._is_refused():
                return self._answer(method, is_whole=False)
            is_begun = True
            try:
                self._socket.sendall(piece)
            except TimeoutError:
                if self._is_refused():
                    return self._answer(method, is_whole=False)
                raise
            except OSError as error:
                return self._last_words(method, error)
        return self._answer(method)

    def _last_words(self, method: str, broken: OSError) -> Answer:
        """Return the answer of somebody who hung up before all was sent, as who refuses a large body may.

        Without one, what ended the connection says more than that nothing can be sent: an alert of TLS.
        """
        try:
            return self._answer(method, is_whole=False)
        except ProtocolError:
            raise broken from None

    def _is_refused(self) -> bool:
        """Tell whether a refusal, or a redirect, came while a request is still being sent."""
        patience = self._socket.gettimeout()
        said = b""
        # What is broken is found out by who goes on.
        with suppress(OSError):
            self._socket.setblocking(False)
            said = self._file.peek(_STATUS_AT + 1)
        self._socket.settimeout(patience)
        return said[_STATUS_AT : _STATUS_AT + 1] in {b"3", b"4", b"5"}

    def tunnel(self, target: str, fields: Mapping[str, str]) -> None:
        """Ask a proxy for a way to `target`, a host and a port. Raises OSError."""
        self._socket.sendall(_request_head("CONNECT", target, fields))
        status, reason, _ = self._head()
        if not 200 <= status < 300:
            raise ProtocolError(f"the proxy doesn't lead to {target}: {status} {reason}".rstrip())

    def upgrade(self, target: str, fields: Mapping[str, str], body: bytes) -> Upgraded | Answer:
        """Ask for another protocol than HTTP; returns the answer of a server that refuses. Raises OSError."""
        self._socket.sendall(_request_head("POST", target, fields) + body)
        status, _, found = self._head()
        if status != _SWITCHING:
            length = _body_length("POST", status, found)
            return Answer(self, status, found, length, keeps=False)
        self._socket.setblocking(False)
        first = b""
        with suppress(self._says_nothing):
            first = self._file.read1(_PIECE)
        return Upgraded(socket=self._socket, first=first, says_nothing=self._says_nothing)

    def wait_for(self, seconds: float) -> None:
        """Say for how long the other side may be silent; more than that is a TimeoutError."""
        self._socket.settimeout(seconds)

    @contextmanager
    def hurried(self, seconds: float) -> Iterator[None]:
        """Have less patience for the time of the block. After a TimeoutError nothing more can be read."""
        patience = self._socket.gettimeout()
        self._socket.settimeout(seconds if patience is None else min(seconds, patience))
        yield
        if self._socket.fileno() >= 0:
            self._socket.settimeout(patience)

    def close(self) -> None:
        """Hang up."""
        self.is_kept = False
        self._file.close()
        self._socket.close()

    def break_off(self) -> None:
        """Let whoever waits for the other side, in any thread, find that it hung up."""
        # Not by the socket's own method: that of TLS forgets its session, which a reader is using.
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def is_stale(self) -> bool:
        """Tell whether the other side hung up, or said something unasked, while nobody listened."""
        timeout = self._socket.gettimeout()
        try:
            self._socket.setblocking(False)
            self._socket.recv(1)
        except self._says_nothing:
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(timeout)
        return True

    # --- reading ---

    def _answer(self, method: str, *, is_whole: bool = True) -> Answer:
        status, _, fields = self._head()
        interim = 0
        while 100 <= status < 200:
            interim += 1
            if interim > _INTERIM_LIMIT:
                raise ProtocolError(f"more than {_INTERIM_LIMIT} interim answers")
            status, _, fields = self._head()
        length = _body_length(method, status, fields)
        return Answer(self, status, fields, length, keeps=is_whole and _keeps(fields, length))

    def _head(self) -> tuple[int, str, Fields]:
        version, _, rest = self.line().partition(" ")
        code, _, reason = rest.partition(" ")
        if version not in {"HTTP/1.1", "HTTP/1.0"} or not _is_status(code):
            raise ProtocolError(f"not an answer of HTTP/1.1: {f'{version} {rest}'[:60]!r}")
        pairs = _fields(self.lines())
        if version == "HTTP/1.0":
            pairs.append(("connection", "close"))
        return int(code), reason, Fields(pairs=tuple(pairs))

    def line(self, limit: int = _LINE_LIMIT) -> str:
        """Read a line, without its end. Raises ProtocolError for one of `limit` bytes, or without an end."""
        line = self._file.readline(limit)
        if not line.endswith(b"\n"):
            raise ProtocolError("the connection ended" if len(line) < limit else "a long line")
        return line.rstrip(b"\r\n").decode("latin-1")

    def lines(self) -> Iterator[str]:
        """Give lines up to an empty one, of a head or of trailers. Raises ProtocolError for too many."""
        left = _HEAD_LIMIT
        while line := self.line():
            left -= len(line) + 2
            if left < 0:
                raise ProtocolError(f"header fields of more than {_HEAD_LIMIT} bytes")
            yield line

    def read(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end of the connection."""
        data: bytes = self._file.read(size)
        return data


class Answer:
    """An answer, with its body still on the connection."""

    def __init__(
        self,
        connection: Connection,
        status: int,
        fields: Fields,
        length: int | None,
        *,
        keeps: bool,
    ) -> None:
        self.status = status
        self.fields = fields
        self._connection = connection
        self._length = length
        self._keeps = keeps
        self._has_begun = False
        self._is_done = False
        if length == 0:
            self._end()

    def stream(self, size: int) -> Iterator[bytes]:
        """Give the body in pieces of up to `size` bytes. Raises OSError if it breaks off."""
        if self._is_done:
            return
        self._has_begun = True
        if self._length is None:
            yield from self._to_the_end(size)
        elif self._length < 0:
            yield from self._chunks(size)
        else:
            yield from self._piece(self._length, size)
        self._end()

    def read(self, limit: int) -> bytes:
        """Return the body. Raises OSError, ProtocolError if it has more than `limit` bytes."""
        data = bytearray()
        for piece in self.stream(min(limit + 1, _PIECE)):
            data += piece
            if len(data) > limit:
                self.drop()
                raise ProtocolError(f"a body of more than the {limit} bytes allowed")
        return bytes(data)

    def drop(self) -> None:
        """Be done with the answer: read a small body that nobody has begun to read, or hang up."""
        if not self._has_begun and self._length is not None and self._length <= _SKIP_LIMIT:
            with suppress(OSError), self._connection.hurried(_SKIP_TIME):
                self._skip()
        if not self._is_done:
            self._is_done = True
            self._connection.close()

    def _skip(self) -> None:
        left = _SKIP_LIMIT
        for piece in self.stream(_SKIP_LIMIT):
            left -= len(piece)
            if left < 0:
                return

    def _end(self) -> None:
        self._is_done = True
        if self._keeps:
            self._connection.is_kept = True
        else:
            self._connection.close()

    def _piece(self, length: int, size: int) -> Iterator[bytes]:
        left = length
        while left:
            data = self._connection.read(min(left, size))
            if not data:
                raise ProtocolError(f"{left} bytes of {length} are missing")
            left -= len(data)
            yield data

    def _to_the_end(self, size: int) -> Iterator[bytes]:
        while data := self._connection.read(size):
            yield data

    def _chunks(self, size: int) -> Iterator[bytes]:
        while length := _chunk_length(self._connection.line(_CHUNK_LINE_LIMIT)):
            yield from self._piece(length, size)
            if self._connection.line():
                raise ProtocolError("a chunk is longer than it says")
        for _ in self._connection.lines():
            pass  # trailers tell nothing that is asked for


def _fields(lines: Iterator[str]) -> list[tuple[str, str]]:
    """Return the names, in lower case, and the values of header fields."""
    found: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines):
        if number == _FIELDS_LIMIT:
            raise ProtocolError(f"more than {_FIELDS_LIMIT} lines of header fields")
        # Values come back in requests, as an ETag does: these could end a line there.
        clean = line.replace("\r", " ").replace("\0", " ")
        if clean[0] in " \t" and found:
            found[-1][1].append(clean.strip())
            continue
        name, colon, value = clean.partition(":")
        if not colon:
            raise ProtocolError(f"a bad header field: {line[:60]!r}")
        found.append((name.strip().lower(), [value.strip()]))
    return [(name, " ".join(parts)) for name, parts in found]


def _keeps(fields: Fields, length: int | None) -> bool:
    """Tell whether another request may follow on a connection."""
    if length is None or (fields.all("Transfer-Encoding") and fields.all("Content-Length")):
        return False  # where such a body ends, somebody between here and there may see otherwise
    return "close" not in ",".join(fields.all("Connection")).lower()


def _request_head(method: str, target: str, fields: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any("\r" in line or "\n" in line for line in lines) or target != "".join(target.split()):
        raise ProtocolError(f"a line end or a blank in the request for {target!r}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace")


def _body_length(method: str, status: int, fields: Fields) -> int | None:
    """Return the length of a body in bytes, -1 for a chunked one, None if the connection ends it.

    Source: RFC 9112, section 6.3.
    """
    if method == "HEAD" or status in _NO_BODY:
        return 0
    if codings := fields.all("Transfer-Encoding"):
        if [each.lower() for each in codings] != ["chunked"]:
            raise ProtocolError(f"a body in the unknown transfer coding {', '.join(codings)!r}")
        return -1
    lengths = fields.all("Content-Length")
    if not lengths:
        return None
    told = lengths[0]
    if not told.isdecimal() or len(told) > _LENGTH_DIGITS or len(set(lengths)) > 1:
        raise ProtocolError(f"a body of the length {told[:60]!r}")
    return int(told)


def _chunk_length(line: str) -> int:
    text = line.partition(";")[0].strip()
    if not text or len(text) > 16 or not all(each in "0123456789abcdefABCDEF" for each in text):
        raise ProtocolError(f"a chunk of the length {text[:20]!r}")
    return int(text, 16)


def _is_status(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isdecimal() and code[0] != "0"
