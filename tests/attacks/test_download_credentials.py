"""Secrets of downloads, repositories and engines go to the origin they belong to, and to nobody it names.

ADD and remote contexts: a redirect to another host, port or scheme with the header of a secret or with the
login of the address (CVE-2018-1000007, CVE-2018-18074, CVE-2022-27774, CVE-2022-27776), also there and back
again (CVE-2024-45336); the login of a proxy (CVE-2023-32681, CVE-2025-4673); logins that are shown
(CVE-2023-26054). Repositories: git takes a header of its settings wherever it is led. An engine behind TLS
isn't spoken to in clear.
"""

from __future__ import annotations

import base64
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from polyarch.engine.docker import find_engine
from polyarch.errors import PolyarchError, RemoteError
from polyarch.graph.op import GitOp, HttpOp
from polyarch.http.download import Getter
from polyarch.http.follow import Sender
from polyarch.http.pools import Pools
from polyarch.progress import CancelToken
from polyarch.registry.hosts import Hosts
from polyarch.store.store import Store
from polyarch.worker.secrets import Secrets, SecretSource
from polyarch.worker.source_git import GitSource
from polyarch.worker.source_http import HttpSource
from tests.support.network.gitweb import GitWeb, git_web, new_repository
from tests.support.network.spies import PASSWORD, TOKEN, at_once, knows, redirect, trusting
from tests.support.network.web import Page, WebServer

BASIC = f"Basic {base64.b64encode(f'me:{PASSWORD}'.encode()).decode()}"
REDIRECTS = (301, 302, 303, 307, 308)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def download(
    stack: ExitStack,
    store: Store,
    url: str,
    hosts: Hosts | None = None,
    environ: Mapping[str, str] | None = None,
) -> bytes:
    """Fetch a file as somebody who has a token for this machine."""
    pools = Pools(environ or {})
    stack.callback(pools.close)
    sender = Sender(endpoint_of=(hosts or Hosts()).endpoint, pools=pools)
    getter = Getter(sender=sender, cancel=CancelToken(), pause=at_once)
    secrets = Secrets(
        sources={"HTTP_AUTH_TOKEN_127.0.0.1": SecretSource(value=TOKEN.encode())},
    )
    source = HttpSource(store=store, getter=getter, secrets=secrets)
    return source.fetch(HttpOp(url=url, filename="f"), CancelToken()).path.read_bytes()


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_secret_stays_with_its_port(
    stack: ExitStack, store: Store, own: WebServer, other: WebServer, status: int
) -> None:
    own.pages["/f"] = redirect(f"{other.address}/f", status)
    other.pages["/f"] = Page(b"file")

    assert download(stack, store, f"{own.address}/f") == b"file"

    assert own.asked[0].authorization == f"Bearer {TOKEN}"
    assert not knows(other, TOKEN)


def test_a_secret_follows_about_its_own_origin(
    stack: ExitStack, store: Store, own: WebServer
) -> None:
    own.pages |= {"/f": redirect("/g"), "/g": redirect(f"{own.address}/h"), "/h": Page(b"file")}

    assert download(stack, store, f"{own.address}/f") == b"file"

    assert {asked.authorization for asked in own.asked} == {f"Bearer {TOKEN}"}


def test_a_secret_is_gone_for_good(
    stack: ExitStack, store: Store, own: WebServer, other: WebServer
) -> None:
    own.pages |= {"/f": redirect(f"{other.address}/f"), "/g": Page(b"file")}
    other.pages["/f"] = redirect(f"{own.address}/g")

    assert download(stack, store, f"{own.address}/f") == b"file"

    assert [asked.authorization for asked in own.asked] == [f"Bearer {TOKEN}", ""]


def test_a_secret_is_not_said_in_clear(
    stack: ExitStack, store: Store, secure: WebServer, own: WebServer, certificates: Path
) -> None:
    secure.pages["/f"] = redirect(f"{own.address}/f")
    own.pages["/f"] = Page(b"file")

    found = download(stack, store, f"{secure.address}/f", trusting(secure, certificates))

    assert (found, knows(secure, TOKEN), knows(own, TOKEN)) == (b"file", True, False)


def test_the_login_of_an_address_stays_too(
    stack: ExitStack, store: Store, own: WebServer, other: WebServer
) -> None:
    own.pages |= {"/f": redirect("/g"), "/g": redirect(f"{other.address}/f")}
    other.pages["/f"] = Page(b"file")
    url = own.address.replace("127.0.0.1", f"me:{PASSWORD}@localhost")

    assert download(stack, store, f"{url}/f") == b"file"

    assert [asked.authorization for asked in own.asked] == [BASIC, BASIC]
    assert [asked.headers["Host"] for asked in own.asked] == [f"localhost:{own.host[10:]}"] * 2
    assert not knows(other)


def test_a_login_is_not_shown(stack: ExitStack, store: Store, own: WebServer) -> None:
    url = own.address.replace("127.0.0.1", f"me:{PASSWORD}@localhost")
    own.pages["/loop"] = redirect(f"{url}/loop?again={PASSWORD}")

    with pytest.raises(RemoteError) as missing:
        download(stack, store, f"{url}/missing")
    with pytest.raises(RemoteError, match="redirects") as led:
        download(stack, store, f"{url}/loop")

    for caught in (missing, led):
        text = "".join(traceback.format_exception(caught.value)) + caught.value.hint
        assert PASSWORD not in text


def test_cookies_are_not_kept(
    stack: ExitStack, store: Store, own: WebServer, other: WebServer
) -> None:
    headers = {"Set-Cookie": f"a={PASSWORD}; Path=/", "Location": f"{other.address}/f"}
    own.pages["/f"] = Page(status=302, headers=headers)
    other.pages["/f"] = Page(b"file")

    download(stack, store, f"{own.address}/f")

    assert not knows(other)


def test_the_login_of_a_proxy_stays_with_the_proxy(
    stack: ExitStack, store: Store, own: WebServer, other: WebServer
) -> None:
    own.pages["http://web.invalid/f"] = redirect(f"{other.address}/f")
    other.pages["/f"] = Page(b"file")
    proxy = {"http_proxy": own.address.replace("127.0.0.1", f"me:{PASSWORD}@127.0.0.1")}

    assert download(stack, store, "http://web.invalid/f", environ=proxy) == b"file"

    assert own.asked[0].headers["Proxy-Authorization"] == BASIC
    assert not knows(other)


# --- repositories ---


@pytest.fixture
def git(tmp_path: Path, stack: ExitStack) -> GitWeb:
    """A server of the repository `r`, which anybody may read."""
    new_repository(tmp_path / "web/r", {"file": "one"})
    return stack.enter_context(git_web(tmp_path / "web"))


def git_source(store: Store) -> GitSource:
    secrets = Secrets(sources={"GIT_AUTH_TOKEN": SecretSource(value=TOKEN.encode())})
    return GitSource(store=store, secrets=secrets, environ=os.environ)


def test_git_takes_no_token_elsewhere(store: Store, own: WebServer, git: GitWeb) -> None:
    own.pages["/r.git/info/refs"] = redirect(
        f"{git.address}/r.git/info/refs?service=git-upload-pack", 301
    )

    tree = git_source(store).fetch(GitOp(remote=f"{own.address}/r.git"), CancelToken())

    assert (tree.root / "file").read_text() == "one"
    assert own.asked[0].authorization.startswith("basic ")
    assert set(git.headers) == {""}


def test_git_takes_the_token_to_where_its_server_has_moved_it(
    store: Store, tmp_path: Path, stack: ExitStack
) -> None:
    new_repository(tmp_path / "web/r", {"file": "one"})
    git = stack.enter_context(git_web(tmp_path / "web", password=TOKEN, moved={"old": "r"}))

    tree = git_source(store).fetch(GitOp(remote=f"{git.address}/old.git"), CancelToken())

    assert (tree.root / "file").read_text() == "one"
    assert len(set(git.headers)) == 1


def test_git_takes_no_login_of_an_address_elsewhere(
    store: Store, own: WebServer, tmp_path: Path, stack: ExitStack
) -> None:
    new_repository(tmp_path / "web/r", {"file": "one"})
    git = stack.enter_context(git_web(tmp_path / "web", password=PASSWORD))
    own.pages["/r.git/info/refs"] = redirect(
        f"{git.address}/r.git/info/refs?service=git-upload-pack", 301
    )
    url = own.address.replace("127.0.0.1", f"x-access-token:{PASSWORD}@localhost")
    source = GitSource(store=store, secrets=Secrets(), environ=os.environ)

    with pytest.raises(RemoteError) as caught:
        source.fetch(GitOp(remote=f"{url}/r.git"), CancelToken())

    assert set(git.headers) == {""}
    assert PASSWORD not in str(caught.value) + caught.value.hint


def test_git_that_is_led_in_circles(store: Store, own: WebServer) -> None:
    here, there = (f"{own.address}/{name}.git/info/refs" for name in "rs")
    own.pages |= {"/r.git/info/refs": redirect(there), "/s.git/info/refs": redirect(here)}

    with pytest.raises(RemoteError, match="redirects"):
        git_source(store).fetch(GitOp(remote=f"{own.address}/r.git"), CancelToken())


# --- engines ---


@pytest.mark.parametrize("name", ["DOCKER_TLS_VERIFY", "DOCKER_TLS"])
def test_an_engine_behind_tls_is_not_spoken_to_in_clear(own: WebServer, name: str) -> None:
    with pytest.raises(PolyarchError):
        find_engine({"DOCKER_HOST": f"tcp://{own.host}", name: "1"})

    assert own.asked == []
