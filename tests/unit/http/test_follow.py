"""Redirects: what is sent again, how far, and where nobody follows."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from polyarch.errors import RemoteError
from polyarch.http.endpoint import Endpoint
from polyarch.http.follow import Call, Reply, Sender
from polyarch.http.pools import Pools
from polyarch.http.unreachable import Unreachable
from spies import redirect
from web import Page, WebServer, web_server


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def sender() -> Iterator[Sender]:
    pools = Pools({})
    yield Sender(endpoint_of=lambda host: Endpoint(host=host), pools=pools, user_agent="tests")
    pools.close()


def body_of(reply: Reply) -> bytes:
    return b"".join(reply.stream(1 << 16))


def pieces() -> Generator[bytes, None, None]:
    yield b"12"
    yield b"345"


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        (301, "PUT", b"12345"),
        (302, "PUT", b"12345"),
        (303, "GET", b""),
        (307, "PUT", b"12345"),
        (308, "PUT", b"12345"),
    ],
)
def test_what_is_sent_again(
    web: WebServer, sender: Sender, status: int, method: str, body: bytes
) -> None:
    web.pages |= {"/a": redirect("b?c=d", status), "/b": Page(b"there")}
    call = Call(method="PUT", url=f"{web.address}/a", open_body=pieces, size=5)

    reply = sender.send(call)

    assert (reply.url, body_of(reply)) == (f"{web.address}/b?c=d", b"there")
    assert [(each.method, each.body) for each in web.asked] == [("PUT", b"12345"), (method, body)]


def test_a_head_stays_one(web: WebServer, sender: Sender) -> None:
    web.pages |= {"/a": redirect("/b", 303), "/b": Page(b"there")}

    sender.send(Call(method="HEAD", url=f"{web.address}/a")).close()

    assert [each.method for each in web.asked] == ["HEAD", "HEAD"]


def test_redirects_in_circles(web: WebServer, sender: Sender) -> None:
    web.pages["/a"] = redirect("/a?secret=1")

    with pytest.raises(RemoteError, match=r"stopped after 10 redirects at .*/a\?secret=xxxxx"):
        sender.send(Call(method="GET", url=f"{web.address}/a"))

    assert len(web.asked) == 11


@pytest.mark.parametrize("target", ["ftp://a/b", "file:///etc/passwd", "http://[", "http://a:x/"])
def test_where_nobody_follows(web: WebServer, sender: Sender, target: str) -> None:
    web.pages["/a"] = redirect(target)

    with pytest.raises(RemoteError, match="is no address"):
        sender.send(Call(method="GET", url=f"{web.address}/a"))


def test_a_redirect_without_a_place_is_an_answer(web: WebServer, sender: Sender) -> None:
    web.pages["/a"] = Page(b"moved", status=301)

    assert body_of(sender.send(Call(method="GET", url=f"{web.address}/a"))) == b"moved"


def test_who_cannot_be_reached_is_named(web: WebServer, sender: Sender) -> None:
    with web_server() as gone:
        pass
    web.pages["/a"] = redirect(f"{gone.address}/b")

    with pytest.raises(Unreachable) as caught:
        sender.send(Call(method="GET", url=f"{web.address}/a"))

    assert str(caught.value.origin) == gone.host
