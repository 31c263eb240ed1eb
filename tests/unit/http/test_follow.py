"""Redirects: what is sent again, how far, and where nobody follows."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Generator, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.errors import RemoteError
from polyarch.http.endpoint import Endpoint
from polyarch.http.follow import Call, Reply, Sender
from polyarch.http.pools import Pools
from polyarch.http.unreachable import Unreachable
from tests.support.network.certificates import make_certificates, server_side
from tests.support.network.spies import redirect
from tests.support.network.web import Page, WebServer, web_server


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


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sender, list[WebServer]]]:
    """Servers in HTTP, on another port, and in HTTPS, and who may ask them."""
    directory = tmp_path_factory.mktemp("certificates")
    make_certificates(directory)
    pools, authorities = Pools({}), (directory / "ca.crt",)
    with web_server() as one, web_server() as two, web_server(server_side(directory)) as secure:
        yield (
            Sender(
                endpoint_of=lambda host: Endpoint(host=host, authorities=authorities), pools=pools
            ),
            [one, two, secure],
        )
        pools.close()


@given(
    way=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([301, 302, 303, 307, 308])),
        min_size=1,
        max_size=8,
    ),
    login=st.sampled_from(["field", "address", "both"]),
)
@settings(max_examples=40)
def test_a_secret_stays_at_its_origin_on_any_way(
    three: tuple[Sender, list[WebServer]], way: list[tuple[int, int]], login: str
) -> None:
    """It is sent for as long as the way stays there, and never after it has led elsewhere."""
    sender, servers = three
    for server in servers:
        server.pages.clear()
        server.asked.clear()
    places = [f"{servers[which].address}/{number}" for number, (which, _) in enumerate(way)]
    for number, (which, status) in enumerate(way[:-1]):
        servers[which].pages[f"/{number}"] = redirect(places[number + 1], status)
    servers[way[-1][0]].pages[f"/{len(way) - 1}"] = Page(b"there")
    url = places[0] if login == "field" else places[0].replace("://", "://me:secret@")
    field = "" if login == "address" else "Bearer secret"

    assert body_of(sender.send(Call(method="GET", url=url, authorization=field))) == b"there"

    stayed = len(list(itertools.takewhile(lambda each: each[0] == way[0][0], way)))
    asked = sorted(
        (each for server in servers for each in server.asked), key=lambda each: each.path
    )
    wanted = field or f"Basic {base64.b64encode(b'me:secret').decode()}"
    assert [each.authorization for each in asked] == [wanted] * stayed + [""] * (len(way) - stayed)
