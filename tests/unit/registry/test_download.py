"""Fetching files: what is no address is refused before anybody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import RemoteError
from polyarch.registry.download import Getter, redacted
from polyarch.registry.hosts import Hosts
from polyarch.registry.pools import Pools


@pytest.mark.parametrize(
    "url", ["http://]/a", "http://a:b/c", "http://a:99999/", "http://a/\udcff"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    getter = Getter(hosts=Hosts({}, Path("/nonexistent")), pools=Pools({}))

    with pytest.raises(RemoteError, match="is no address"), getter.get(url, {}):
        pass


def test_passwords_arent_shown() -> None:
    assert redacted("http://me:secret@host/a") == "http://me:xxxxx@host/a"
    assert redacted("http://me:secret@]/a") == "http://…"
