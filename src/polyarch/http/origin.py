"""Whom an address leads to. An origin is a scheme, a host and a port; credentials stay with theirs.

Everything that decides who gets a password, a token or a client's certificate asks here, so that no two
places compare addresses in two ways. Source: RFC 6454, section 4, but only for http and https.
"""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from polyarch.errors import RemoteError
from polyarch.record import frozen

__all__ = ["Origin", "basic", "origin_of", "redacted", "shown", "split_login"]

_PORTS = {"http": 80, "https": 443}
_HARMLESS = frozenset({"digest", "from", "mount", "ns", "scope", "service"})
"""Parameters of a registry's addresses that hold no secret; uploads and storage sign their own."""


@frozen
class Origin:
    """Who is spoken to: two addresses lead to the same one if all three are equal."""

    scheme: str
    host: str
    """In lower case, without brackets."""
    port: int

    def __str__(self) -> str:
        """Write the host, with the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_secure(self) -> bool:
        """Whether what is said can be read by nobody on the way."""
        return self.scheme == "https"


def origin_of(url: str) -> Origin:
    """Return the origin of an address. Raises RemoteError for what is no address of http or https."""
    try:
        split = urlsplit(url)
        scheme, host, port = split.scheme.lower(), split.hostname or "", split.port
        url.encode()  # text that isn't UTF-8 is no address either
    except ValueError as error:
        raise _no_address(url, f": {error}") from error
    if scheme not in _PORTS or not host:
        raise _no_address(url, " of a web server")
    return Origin(scheme=scheme, host=host, port=_PORTS[scheme] if port is None else port)


def _no_address(url: str, why: str) -> RemoteError:
    return RemoteError(f"{redacted(url)!r} is no address{why}", hint="write https://HOST/PATH")


def split_login(url: str) -> tuple[str, str]:
    """Return an address without the login that it may hold, and `user:password` or ""."""
    split = urlsplit(url)
    login, at, host = split.netloc.rpartition("@")
    return (split._replace(netloc=host).geturl(), unquote(login)) if at else (url, "")


def basic(login: str) -> str:
    """Return the value of `Authorization` for `user:password`; "" for nobody."""
    return f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""


def redacted(url: str) -> str:
    """Return an address that the user wrote without the password that it may hold."""
    try:
        split = urlsplit(url)
    except ValueError:
        return (
            url.partition("://")[0] + "://…"
        )  # no address: where a password would be, nobody knows
    login, at, host = split.netloc.rpartition("@")
    if not at or ":" not in login:
        return url
    return split._replace(netloc=f"{login.partition(':')[0]}:xxxxx@{host}").geturl()


def shown(url: str) -> str:
    """Return an address that a server gave as it may be shown: without login, without signatures.

    Uploads' and storage's addresses carry in their parameters what opens them.
    """
    try:
        split = urlsplit(split_login(url)[0])
        query = parse_qsl(split.query, keep_blank_values=True)
    except ValueError:
        return redacted(url)
    clean = [(key, value if key.lower() in _HARMLESS else "xxxxx") for key, value in query]
    return split._replace(query=urlencode(clean, safe=":/,"), fragment="").geturl()
