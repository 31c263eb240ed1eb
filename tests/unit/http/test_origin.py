"""What is the same origin, and what is shown of an address."""

from __future__ import annotations

import pytest

from polyarch.errors import RemoteError
from polyarch.http.origin import origin_of, redacted, shown


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://host/a", "https://host:443/b", True),
        ("http://host/a", "http://HOST:80/b?c#d", True),
        ("https://me:pw@host/", "https://host/", True),
        ("https://[::1]:5000/", "https://[::1]:5000/x", True),
        ("https://host/", "http://host/", False),
        ("https://host/", "http://host:443/", False),
        ("https://host/", "https://host:444/", False),
        ("https://host/", "https://a.host/", False),
        ("https://host/", "https://host.evil/", False),
        ("https://host/", "https://host@evil/", False),
        ("https://host/", "https://evil\\@host.evil/", False),
        ("https://host/", "https://host./", False),
        ("https://host/", "https://\uff48ost/", False),
    ],
)
def test_same_origin(one: str, other: str, *, same: bool) -> None:
    assert (origin_of(one) == origin_of(other)) is same


@pytest.mark.parametrize("url", ["ftp://host/", "file:///etc/passwd", "//host/", "https:///a", ""])
def test_what_has_no_origin(url: str) -> None:
    with pytest.raises(RemoteError, match="is no address of a web server"):
        origin_of(url)


def test_an_origin_is_written_as_settings_name_it() -> None:
    assert str(origin_of("https://Host:443/")) == "host"
    assert str(origin_of("http://host:443/")) == "host:443"
    assert str(origin_of("https://[::1]:5000/")) == "[::1]:5000"


def test_secrets_of_an_address_are_not_shown() -> None:
    assert redacted("http://me:secret@host/a") == "http://me:xxxxx@host/a"
    assert redacted("http://me:secret@]/a") == "http://…"
    assert shown("https://me:pw@host/a?X-Amz-Signature=abc&ns=docker.io#x") == (
        "https://host/a?X-Amz-Signature=xxxxx&ns=docker.io"
    )
