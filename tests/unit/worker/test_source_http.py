import gzip
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import IntegrityError, RemoteError
from polyarch.graph.op import HttpOp
from polyarch.http.download import Getter
from polyarch.http.follow import Sender
from polyarch.http.origin import redacted
from polyarch.http.pools import Pools
from polyarch.progress import CancelToken
from polyarch.registry.hosts import Hosts
from polyarch.store.store import Store
from polyarch.worker.secrets import Secrets, SecretSource
from polyarch.worker.source_http import HttpFile, HttpSource
from tests.support.network.web import Page, WebServer, web_server

DATED = {"ETag": '"1"', "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def source(tmp_path: Path) -> Iterator[HttpSource]:
    pools = Pools({})
    with Store(tmp_path / "store") as store:
        sender = Sender(endpoint_of=Hosts().endpoint, pools=pools)
        getter = Getter(sender=sender, cancel=CancelToken(), pause=lambda _seconds, _cancel: None)
        yield HttpSource(store=store, getter=getter, secrets=Secrets())
    pools.close()


def fetch(source: HttpSource, url: str, checksum: str = "") -> HttpFile:
    return source.fetch(HttpOp(url=url, filename="name", checksum=checksum), CancelToken())


def test_a_file_is_alone_in_its_tree(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content", DATED)

    file = fetch(source, f"{web.address}/a")

    status = file.path.stat()
    assert os.listdir(file.directory) == ["name"]
    assert file.path.read_bytes() == b"content"
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert (status.st_mtime, file.modified) == (1_700_000_000, 1_700_000_000)


def test_a_file_that_was_coded_on_the_way(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(gzip.compress(b"content"), {**DATED, "Content-Encoding": "gzip"})
    checksum = sha256(b"content")

    file = fetch(source, f"{web.address}/a", checksum)
    again = fetch(source, f"{web.address}/a")

    assert file.path.read_bytes() == again.path.read_bytes() == b"content"
    assert [each.headers.get("If-None-Match") for each in web.asked] == [None, '"1"']


@pytest.mark.parametrize("coding", ["br", "gzip, br"])
def test_a_coding_that_is_not_known(source: HttpSource, web: WebServer, coding: str) -> None:
    web.pages["/a"] = Page(b"content", {**DATED, "Content-Encoding": coding})

    with pytest.raises(RemoteError, match=f"content coding '{coding}', which isn't supported"):
        fetch(source, f"{web.address}/a")


def test_a_coded_file_that_was_cut_short(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(gzip.compress(b"content")[:-3], {"Content-Encoding": "gzip"})

    with pytest.raises(RemoteError, match=r"broke off: the gzip coding .* ends too early"):
        fetch(source, f"{web.address}/a")


def test_a_file_without_a_date_is_of_1970(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content")

    file = fetch(source, f"{web.address}/a")

    assert (file.path.stat().st_mtime, file.modified) == (0, None)


def test_an_unchanged_file_is_not_sent_again(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content", DATED)
    fetch(source, f"{web.address}/a")

    again = fetch(source, f"{web.address}/a")

    assert again.path.read_bytes() == b"content"
    assert [each.headers.get("If-None-Match") for each in web.asked] == [None, '"1"']


def test_a_changed_file_is_seen(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"old", DATED)
    fetch(source, f"{web.address}/a")
    web.pages["/a"] = Page(b"new", {"ETag": '"2"'})

    assert fetch(source, f"{web.address}/a").path.read_bytes() == b"new"


def test_a_lost_blob_is_fetched_again(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content", DATED)
    fetch(source, f"{web.address}/a")
    source.store.blobs.remove(sha256(b"content"))

    assert fetch(source, f"{web.address}/a").path.read_bytes() == b"content"


def test_redirects_are_followed_without_our_password(source: HttpSource, web: WebServer) -> None:
    port = web.address.rpartition(":")[2]
    web.pages["/a"] = Page(status=302, headers={"Location": f"http://localhost:{port}/b"})
    web.pages["/b"] = Page(b"content")

    file = fetch(source, f"http://me:secret@127.0.0.1:{port}/a")

    assert file.path.read_bytes() == b"content"
    assert [each.headers.get("Authorization") for each in web.asked] == [
        "Basic bWU6c2VjcmV0",
        None,
    ]


def test_what_passes_is_tried_again(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content", after=(503, 500))

    assert fetch(source, f"{web.address}/a").path.read_bytes() == b"content"


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusals(source: HttpSource, web: WebServer, status: int) -> None:
    web.pages["/a"] = Page(b"no", status=status)

    with pytest.raises(RemoteError, match=f"invalid response status {status}"):
        fetch(source, f"{web.address}/a")


def test_nobody_there(source: HttpSource) -> None:
    with pytest.raises(RemoteError, match=r"can't fetch http://me:xxxxx@127\.0\.0\.1:9/a"):
        fetch(source, "http://me:secret@127.0.0.1:9/a")


def test_checksums(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content")
    fetch(source, f"{web.address}/a", sha256(b"content"))

    with pytest.raises(IntegrityError, match="digest mismatch"):
        fetch(source, f"{web.address}/a", sha256(b"other"))


@pytest.mark.parametrize(
    ("name", "sent"), [("HTTP_AUTH_TOKEN_", "Bearer abc"), ("HTTP_AUTH_HEADER_", "abc")]
)
def test_secrets_open_doors(
    source: HttpSource, web: WebServer, tmp_path: Path, name: str, sent: str
) -> None:
    (tmp_path / "secret").write_text("abc")
    web.pages["/a"] = Page(b"content")
    secrets = Secrets(sources={f"{name}127.0.0.1": SecretSource(path=str(tmp_path / "secret"))})

    HttpSource(store=source.store, getter=source.getter, secrets=secrets).fetch(
        HttpOp(url=f"{web.address}/a", filename="name"), CancelToken()
    )

    assert web.asked[0].headers["Authorization"] == sent


def test_redacted() -> None:
    assert redacted("https://a:b@c/d?e") == "https://a:xxxxx@c/d?e"
    assert redacted("https://a@c/d") == "https://a@c/d"
    assert redacted("https://c/d") == "https://c/d"


def test_a_file_of_a_known_digest_is_not_asked_about(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content")
    for _ in range(2):
        fetch(source, f"{web.address}/a", sha256(b"content"))

    assert len(web.asked) == 1


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_checksums_of_other_algorithms(source: HttpSource, web: WebServer, algorithm: str) -> None:
    web.pages["/a"] = Page(b"content")
    right = f"{algorithm}:{hashlib.new(algorithm, b'content').hexdigest()}"
    wrong = f"{algorithm}:{hashlib.new(algorithm, b'other').hexdigest()}"

    assert fetch(source, f"{web.address}/a", right).path.read_bytes() == b"content"
    with pytest.raises(IntegrityError, match="digest mismatch"):
        fetch(source, f"{web.address}/a", wrong)


def test_a_server_that_answers_with_the_same_tag(source: HttpSource, web: WebServer) -> None:
    web.pages["/a"] = Page(b"content", {"ETag": 'W/"1"'})
    fetch(source, f"{web.address}/a")
    web.pages["/a"] = Page(b"changed without a new tag", {"ETag": '"1"'})

    assert fetch(source, f"{web.address}/a").path.read_bytes() == b"content"
