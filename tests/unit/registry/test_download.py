"""Fetching files: what is no address is refused before anybody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import RemoteError
from polyarch.progress import CancelToken
from polyarch.registry.download import Getter
from polyarch.registry.follow import Sender
from polyarch.registry.hosts import Hosts
from polyarch.registry.pools import Pools


@pytest.mark.parametrize(
    "url", ["http://]/a", "http://a:b/c", "http://a:99999/", "http://a/\udcff"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    sender = Sender(hosts=Hosts({}, Path("/nonexistent")), pools=Pools({}))
    getter = Getter(sender=sender, cancel=CancelToken())

    with pytest.raises(RemoteError, match="is no address"), getter.get(url, {}):
        pass
