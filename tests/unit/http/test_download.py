"""Fetching files: whom nobody asks, and how often others are asked."""

from __future__ import annotations

import pytest

from polyarch.errors import RemoteError
from polyarch.http.download import Getter
from polyarch.http.endpoint import Endpoint
from polyarch.http.follow import Sender
from polyarch.http.pools import Pools
from polyarch.progress import CancelToken
from tests.support.network.spies import at_once
from tests.support.network.web import Page, web_server


@pytest.mark.parametrize(
    "url", ["http://]/a", "http://a:b/c", "http://a:99999/", "http://a/\udcff"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    sender = Sender(endpoint_of=lambda host: Endpoint(host=host), pools=Pools({}))
    getter = Getter(sender=sender, cancel=CancelToken())

    with pytest.raises(RemoteError, match="is no address"), getter.get(url, {}):
        pass


def test_a_download_is_asked_for_five_times() -> None:
    pools = Pools({})
    getter = Getter(
        sender=Sender(endpoint_of=lambda host: Endpoint(host=host), pools=pools),
        cancel=CancelToken(),
        pause=at_once,
    )
    with web_server() as web:
        web.pages["/f"] = Page(status=503)
        with getter.get(f"{web.address}/f", {}) as reply:
            assert reply.status == 503
        pools.close()

    assert len(web.asked) == 5
