"""HTTP on a socket whose other end is the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from polyarch.http.connection import Answer, Connection, ProtocolError

FIELDS = {"Host": "registry.example"}


class Peer:
    """The other end: answers are written before they are asked for."""

    def __init__(self) -> None:
        ours, self.socket = socket.socketpair()
        ours.settimeout(5)
        self.connection = Connection(ours)

    def get(self, answer: bytes, method: str = "GET") -> Answer:
        self.socket.sendall(answer)
        return self.connection.exchange(method, "/v2/", FIELDS, b"")

    def hang_up(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.connection.close()
    made.socket.close()


def body(answer: Answer, size: int = 1000) -> bytes:
    return b"".join(answer.stream(size))


def test_request_as_it_is_sent(peer: Peer) -> None:
    peer.socket.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    answer = peer.connection.exchange("PUT", "/v2/x", {**FIELDS, "Content-Length": "2"}, b"{}")

    assert answer.status == 201
    wanted = b"PUT /v2/x HTTP/1.1\r\nHost: registry.example\r\nContent-Length: 2\r\n\r\n{}"
    assert peer.socket.recv(1000) == wanted
    assert peer.connection.is_kept


def test_body_of_a_known_length(peer: Peer) -> None:
    answer = peer.get(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\n\r\nhello")

    assert list(answer.stream(3)) == [b"hel", b"lo"]
    assert answer.fields.get("date") == "now"
    assert peer.connection.is_kept


def test_chunks_and_trailers(peer: Peer) -> None:
    answer = peer.get(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    )

    assert body(answer) == b"abc0123456789"
    assert peer.connection.is_kept


def test_body_that_ends_with_the_connection(peer: Peer) -> None:
    peer.socket.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    peer.hang_up()

    answer = peer.connection.exchange("GET", "/", FIELDS, b"")

    assert body(answer) == b"all of it"
    assert not peer.connection.is_kept


def test_interim_answers_are_passed_over(peer: Peer) -> None:
    answer = peer.get(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )

    assert (answer.status, body(answer)) == (200, b"ok")


@pytest.mark.parametrize(
    ("method", "head"),
    [("HEAD", b"200 OK\r\nContent-Length: 700"), ("GET", b"204 No Content"), ("GET", b"304 Same")],
)
def test_answers_without_a_body(peer: Peer, method: str, head: bytes) -> None:
    answer = peer.get(b"HTTP/1.1 " + head + b"\r\n\r\n", method)

    assert body(answer) == b""
    assert peer.connection.is_kept


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nConnection: keep-alive\r\nConnection: close",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    ],
)
def test_connections_that_cannot_be_kept(peer: Peer, fields: bytes) -> None:
    text = b"2\r\nok\r\n0\r\n\r\n" if b"chunked" in fields else b"ok"
    answer = peer.get(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n" + text)

    assert body(answer) == b"ok"
    assert not peer.connection.is_kept


def test_a_version_that_keeps_nothing(peer: Peer) -> None:
    answer = peer.get(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")

    assert body(answer) == b"ok"
    assert not peer.connection.is_kept


def test_no_line_ends_in_values(peer: Peer) -> None:
    answer = peer.get(b'HTTP/1.1 304 Same\r\nETag: "a\rb\0c"\r\n\r\n')

    assert answer.fields.get("ETag") == '"a b c"'


def test_fields_may_come_twice_and_folded(peer: Peer) -> None:
    answer = peer.get(
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nwww-authenticate: Bearer\r\n  realm=x\r\n"
        b"Content-Length: 0\r\n\r\n"
    )

    assert answer.fields.all("WWW-Authenticate") == ("Basic", "Bearer realm=x")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not an answer of HTTP/1.1: 'SSH-2.0-OpenSSH '"),
        (b"HTTP/1.1 20x OK\r\n", "not an answer of HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n", "a bad header field: 'no colon'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a body of the length '-1'"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "a body of the length '1'",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown transfer coding 'gzip'"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
            "unknown transfer coding 'chunked, gzip'",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "a body of the length ''"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "not an answer of HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n" + b" x\r\n" * 200, "more than 200 lines of header fields"),
    ],
)
def test_what_is_not_http(peer: Peer, answer: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        peer.get(answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"Content-Length: 9\r\n\r\nhalf", "5 bytes of 9 are missing"),
        (b"Transfer-Encoding: chunked\r\n\r\nx\r\n", "a chunk of the length 'x'"),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "a chunk is longer than it says"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "3 bytes of 5 are missing"),
    ],
)
def test_bodies_that_break_off(peer: Peer, answer: bytes, message: str) -> None:
    peer.socket.sendall(b"HTTP/1.1 200 OK\r\n" + answer)
    peer.hang_up()
    found = peer.connection.exchange("GET", "/", FIELDS, b"")

    with pytest.raises(ProtocolError, match=message):
        body(found)
    assert not peer.connection.is_kept


def test_nothing_gets_into_a_head_that_is_not_a_field(peer: Peer) -> None:
    with pytest.raises(ProtocolError, match="a line end or a blank in the request"):
        peer.connection.exchange("GET", "/", {"Accept": "x\r\nHost: other"}, b"")


@pytest.mark.parametrize("status", [307, 413, 503])
def test_who_says_no_gets_no_more(peer: Peer, status: int) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        yield b"one"
        peer.socket.sendall(b"HTTP/1.1 %d Told\r\nContent-Length: 2\r\n\r\nno" % status)
        for number in range(9):
            sent.append(number)
            yield b"more"

    answer = peer.connection.exchange("PUT", "/", {**FIELDS, "Content-Length": "39"}, pieces())

    assert (answer.status, body(answer)) == (status, b"no")
    assert sent == [0]
    assert not peer.connection.is_kept


def test_an_interim_answer_stops_nothing(peer: Peer) -> None:
    def pieces() -> Iterator[bytes]:
        peer.socket.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        yield b"one"
        yield b"two"
        peer.socket.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    answer = peer.connection.exchange("PUT", "/", {**FIELDS, "Content-Length": "6"}, pieces())

    assert answer.status == 201
    assert peer.socket.recv(1000).endswith(b"\r\n\r\nonetwo")
    assert peer.connection.is_kept


def test_an_answer_before_the_body_was_sent(peer: Peer) -> None:
    peer.socket.sendall(
        b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!"
    )
    peer.socket.shutdown(socket.SHUT_RD)

    answer = peer.connection.exchange(
        "PUT", "/", {**FIELDS, "Content-Length": str(1 << 24)}, (bytes(1 << 20) for _ in range(16))
    )

    assert (answer.status, body(answer)) == (413, b"no!")
    assert not peer.connection.is_kept


@pytest.mark.parametrize("head", [b"Content-Length: 5\r\n\r\n", b"\r\n"])
def test_a_body_within_a_limit(peer: Peer, head: bytes) -> None:
    peer.socket.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"hello")
    peer.hang_up()

    assert peer.connection.exchange("GET", "/", FIELDS, b"").read(5) == b"hello"


def test_a_body_beyond_a_limit(peer: Peer) -> None:
    answer = peer.get(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with pytest.raises(ProtocolError, match="a body of more than the 4 bytes allowed"):
        answer.read(4)
    assert not peer.connection.is_kept


def test_dropping_keeps_the_connection_if_little_is_left(peer: Peer) -> None:
    answer = peer.get(b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nhello")
    answer.drop()
    assert peer.connection.is_kept

    answer = peer.get(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nh")
    answer.drop()
    assert not peer.connection.is_kept


def test_dropping_what_does_not_come_waits_a_moment(peer: Peer) -> None:
    answer = peer.get(b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nhe")
    peer.connection.wait_for(86400)

    answer.drop()

    assert not peer.connection.is_kept


def test_dropping_leaves_the_patience_as_it_was(peer: Peer) -> None:
    peer.get(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno").drop()

    assert peer.connection._socket.gettimeout() == 5


def test_dropping_what_was_begun_hangs_up_and_waits_for_nothing(peer: Peer) -> None:
    answer = peer.get(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    assert next(answer.stream(2)) == b"he"

    answer.drop()

    assert not peer.connection.is_kept
    assert peer.socket.recv(100).startswith(b"GET /v2/")
    assert peer.socket.recv(100) == b""


def test_a_connection_that_the_other_side_closed_is_stale(peer: Peer) -> None:
    body(peer.get(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    assert not peer.connection.is_stale()

    peer.hang_up()

    assert peer.connection.is_stale()


def test_a_tunnel_through_a_proxy(peer: Peer) -> None:
    peer.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    peer.connection.tunnel("registry.example:443", {"Host": "registry.example:443"})

    assert peer.socket.recv(100).startswith(b"CONNECT registry.example:443 HTTP/1.1\r\n")


def test_a_proxy_that_refuses(peer: Peer) -> None:
    peer.socket.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with pytest.raises(ProtocolError, match="the proxy doesn't lead to x:443: 407 Proxy Auth"):
        peer.connection.tunnel("x:443", {})


def test_a_body_is_sent_as_it_is_made(peer: Peer) -> None:
    received: list[bytes] = []

    def take() -> None:
        while sum(map(len, received)) < 3 << 20:
            received.append(peer.socket.recv(1 << 20))
        peer.socket.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    reader = threading.Thread(target=take)
    reader.start()
    length = {**FIELDS, "Content-Length": str(3 << 20)}
    answer = peer.connection.exchange("PUT", "/", length, (bytes(1 << 20) for _ in range(3)))
    reader.join()

    assert answer.status == 201
