"""Answers as servers and attackers may write them: cut anywhere, garbled, without an end, in any pieces.

Whatever comes, the body is whole or there is an error of HTTP; nobody waits for longer than told, and what is
kept in memory has a bound.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.http.connection import Answer, Connection, ProtocolError

FIELDS = {"Host": "registry.example"}
PIECE = 1 << 10


@dataclass(frozen=True)
class Made:
    """An answer to a `method`, with what is to be understood of it."""

    method: str
    wire: bytes
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    keeps: bool
    """Whether another answer may follow."""
    is_open: bool
    """Whether nothing but the end of the connection tells its end."""


# --- making them ---

names = st.from_regex(r"x-[a-z]{1,8}", fullmatch=True)
values = st.from_regex(r"([!-~\xa1-\xff]([ !-~\xa1-\xff]{0,20}[!-~\xa1-\xff])?)?", fullmatch=True)
fields = st.lists(st.tuples(names, values), max_size=6)
bodies = st.one_of(st.binary(max_size=200), st.integers(0, 5000).map(lambda size: b"layer" * size))
ends = st.sampled_from([b"\r\n", b"\n"])


def _lines(pairs: list[tuple[str, str]], end: bytes) -> bytes:
    return b"".join(f"{name}: {value}".encode("latin-1") + end for name, value in pairs)


@st.composite
def _interim(draw: st.DrawFn, end: bytes) -> bytes:
    status = draw(st.sampled_from([b"100 Continue", b"102 Processing", b"103 Early Hints"]))
    return b"HTTP/1.1 " + status + end + _lines(draw(fields), end) + end


@st.composite
def _chunked(draw: st.DrawFn, body: bytes, end: bytes) -> bytes:
    sizes = draw(st.lists(st.integers(1, max(1, len(body))), max_size=8))
    extension = draw(st.sampled_from([b"", b";a", b'; a="b;c"', b" "]))
    wire, left = b"", body
    for size in [*sizes, len(body)]:
        piece, left = left[:size], left[size:]
        if piece:
            length = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(piece)
            wire += length + extension + end + piece + end
    return wire + b"0" + extension + end + _lines(draw(fields), end) + end


@st.composite
def answers(draw: st.DrawFn) -> Made:
    method = draw(st.sampled_from(["GET", "GET", "PUT", "HEAD"]))
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    status = draw(st.sampled_from([200, 206, 204, 301, 304, 404, 503, 599]))
    end, body, pairs = draw(ends), draw(bodies), draw(fields)
    told = [*pairs]
    framing = draw(st.sampled_from(["length", "chunked", "open"]))
    closes = version == "1.0" or draw(st.booleans())
    if closes and version == "1.1":
        told.append(("Connection", draw(st.sampled_from(["close", "Close", "x, close"]))))
    if framing == "length":
        told.append((draw(st.sampled_from(["Content-Length", "content-length"])), str(len(body))))
    elif framing == "chunked":
        told.append(("Transfer-Encoding", draw(st.sampled_from(["chunked", "Chunked"]))))
    head = f"HTTP/{version} {status} What it says".encode() + end + _lines(told, end) + end
    wire = b"".join(draw(st.lists(_interim(end), max_size=3))) + head
    has_body = method != "HEAD" and status not in {204, 304}
    if has_body:
        wire += draw(_chunked(body, end)) if framing == "chunked" else body
    is_open = has_body and framing == "open"
    return Made(
        method=method,
        wire=wire,
        status=status,
        fields=tuple(pairs),
        body=body if has_body else b"",
        keeps=not (closes or is_open),
        is_open=is_open,
    )


# --- having them come ---


class Trickle(socket.socket):
    """A socket that brings as many bytes at once as it is told, over and over."""

    arrivals: Iterator[int]

    def recv_into(self, buffer: Any, _size: int = 0, flags: int = 0) -> int:
        with memoryview(buffer) as view:
            return super().recv_into(view[: next(self.arrivals)], 0, flags)


@contextlib.contextmanager
def coming(wire: bytes, arrivals: list[int], *, hangs_up: bool = True) -> Iterator[Connection]:
    """Have bytes come on a connection, and then its end."""
    ours, theirs = socket.socketpair()
    sock = Trickle(fileno=ours.detach())
    sock.arrivals = itertools.cycle(arrivals)
    sock.settimeout(5 if hangs_up else 0.01)
    with theirs, contextlib.closing(Connection(sock)) as connection:
        theirs.sendall(wire)
        if hangs_up:
            theirs.shutdown(socket.SHUT_WR)
        yield connection


def ask(connection: Connection, made: Made) -> Answer:
    return connection.exchange(made.method, "/", FIELDS, b"")


def assert_is(answer: Answer, made: Made, size: int) -> None:
    pieces = list(answer.stream(size))

    assert (answer.status, b"".join(pieces)) == (made.status, made.body)
    assert all(0 < len(piece) <= size for piece in pieces)
    assert answer.fields.pairs[: len(made.fields)] == made.fields


sizes = st.sampled_from([1, 3, 100, 1 << 16])
in_pieces = st.lists(st.sampled_from([1, 2, 7, 1000, 1 << 16]), min_size=1, max_size=5)


@given(first=answers(), second=answers(), arrivals=in_pieces, size=sizes)
def test_answers_are_understood(first: Made, second: Made, arrivals: list[int], size: int) -> None:
    with coming(first.wire + second.wire * first.keeps, arrivals) as connection:
        assert_is(ask(connection, first), first, size)
        assert connection.is_kept == first.keeps
        if first.keeps:
            assert_is(ask(connection, second), second, size)


@given(made=answers(), place=st.floats(0, 1, exclude_max=True), arrivals=in_pieces)
def test_answers_that_are_cut_are_errors(made: Made, place: float, arrivals: list[int]) -> None:
    got = b""
    with coming(made.wire[: int(len(made.wire) * place)], arrivals) as connection:
        try:
            for piece in ask(connection, made).stream(PIECE):
                got += piece
            assert made.is_open, "half an answer was taken for a whole one"
        except ProtocolError:
            pass
        assert not connection.is_kept
    assert made.body.startswith(got)


@given(made=answers(), place=st.floats(0, 1, exclude_max=True), arrivals=in_pieces)
@settings(max_examples=30)
def test_silence_is_an_error(made: Made, place: float, arrivals: list[int]) -> None:
    cut = made.wire[: int(len(made.wire) * place)]

    with coming(cut, arrivals, hangs_up=False) as connection, pytest.raises(TimeoutError):
        list(ask(connection, made).stream(PIECE))


BREAKING = [
    b"", b"\r", b"\n", b"\0", b" ", b":", b";", b"0", b"-1", b"9" * 18, b"f" * 17, b"\xff",
    b"x\ry", b"\r\n\r\n", b"\n ", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
]  # fmt: skip


@st.composite
def garbled(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return an answer in which bytes were lost, doubled, put in or changed."""
    made = draw(answers())
    wire = made.wire
    for _ in range(draw(st.integers(1, 3))):
        # Beside what gives an answer its form there is more to break than in a body.
        places = [at + on for at, byte in enumerate(wire) if byte in b": \n;" for on in (0, 1)]
        start = draw(st.one_of(st.sampled_from([0, *places]), st.integers(0, len(wire))))
        end = min(len(wire), start + draw(st.integers(0, 12)))
        doubled = wire[start:end] * 2
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from([*BREAKING, doubled])))
        wire = wire[:start] + new + wire[end:]
    return made.method, wire


@given(what=garbled(), arrivals=in_pieces)
@settings(max_examples=40)
def test_garbled_answers_are_understood_or_errors(
    what: tuple[str, bytes], arrivals: list[int]
) -> None:
    method, wire = what
    total = 0
    with coming(wire, arrivals) as connection:
        try:
            answer = connection.exchange(method, "/", FIELDS, b"")
            assert 200 <= answer.status <= 999
            assert not any(set(value) & set("\r\n\0") for _, value in answer.fields.pairs)
            for piece in answer.stream(PIECE):
                assert 0 < len(piece) <= PIECE
                total += len(piece)
        except ProtocolError:
            assert not connection.is_kept
    assert total <= len(wire)


@given(first=answers(), second=answers(), taken=st.integers(0, 3), arrivals=in_pieces)
def test_a_connection_that_is_kept_is_clean(
    first: Made, second: Made, taken: int, arrivals: list[int]
) -> None:
    """What was dropped, at any point, is never taken for the start of the next answer."""
    with coming(first.wire + second.wire * first.keeps, arrivals) as connection:
        answer = ask(connection, first)
        for _ in itertools.islice(answer.stream(7), taken):
            pass

        answer.drop()

        if connection.is_kept:
            assert_is(ask(connection, second), second, PIECE)


# --- without an end ---


class Endless(socket.socket):
    """A socket that brings `start`, and then the same again and again."""

    start: bytes
    more: bytes
    brought: int = 0

    def recv_into(self, buffer: Any, _size: int = 0, _flags: int = 0) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.start or self.more * (1 + len(view) // len(self.more))
            data, self.start = data[: len(view)], self.start[len(view) :]
            view[: len(data)] = data
        self.brought += len(data)
        return len(data)

    def sendall(self, *_: object) -> None:
        """Take a request."""


UNITS = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 x\r\nX: " + b"y" * 60_000 + b"\r\n\r\n",
    b"x: y\r\n",
    b" y\r\n",
    b"x: " + b"y" * 60_000 + b"\r\n",
    b"a",
    b"\n",
    b";x=y",
    b"1\r\nx\r\n",
    b"1;" + b"x" * 900 + b"\r\ny\r\n",
    b"1;" + b"x" * 60_000 + b"\r\ny\r\n",
    b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n",
    b"0",
    b"9",
]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STARTS = [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"0\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]


def stretched(start: bytes, more: bytes) -> tuple[int, int]:
    """Read an answer that goes on for ever; return the bytes taken, and those held at once."""
    ours, theirs = socket.socketpair()
    theirs.close()
    sock = Endless(fileno=ours.detach())
    sock.start, sock.more = start, more
    connection = Connection(sock)
    tracemalloc.start()
    try:
        with contextlib.suppress(ProtocolError):
            answer = connection.exchange("GET", "/", FIELDS, b"")
            for _ in itertools.islice(answer.stream(PIECE), 1000):
                pass
        return sock.brought, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        connection.close()


# Twenty interim answers, a head and trailers of 256 KiB each; a thousand pieces, each with its line.
TAKEN = 22 * (1 << 18) + 1000 * (2 << 10)
HELD = 1 << 20


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("more", UNITS)
def test_answers_without_an_end_have_a_bound(start: bytes, more: bytes) -> None:
    taken, held = stretched(start, more)

    assert taken < TAKEN
    assert held < HELD


@given(made=answers(), place=st.floats(0, 1), more=st.binary(min_size=1, max_size=50))
@settings(max_examples=50)
def test_answers_that_go_on_for_ever_have_a_bound(made: Made, place: float, more: bytes) -> None:
    start = made.wire[: int(len(made.wire) * place)]

    taken, held = stretched(start, more)

    assert taken < TAKEN + len(start)
    assert held < HELD
