"""A request to one address, and to where that leads: registries, token servers and downloads alike.

Who is trusted for what is decided here once. The `authorization` of a call belongs to the origin of its
address: a redirect to another origin (also from https to http, or to another port of the same host) goes
there without it, and it never comes back, even if a later redirect does. A call that is itself a secret
follows no such redirect at all. CAs and client certificates are those of the origin that is spoken to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from urllib.parse import quote, urljoin, urlsplit

from polyarch.errors import RemoteError
from polyarch.http.coding import decoded, is_coded
from polyarch.http.connection import Answer, Connection
from polyarch.http.endpoint import Endpoint
from polyarch.http.origin import Origin, basic, origin_of, shown, split_login
from polyarch.http.pools import Pools, Site, proxy_fields
from polyarch.http.unreachable import Unreachable
from polyarch.record import field, frozen, replace

__all__ = ["UNTOLD", "Call", "OpenBody", "Reply", "Sender"]

_REDIRECTS = 10
_REDIRECTED = frozenset({301, 302, 303, 307, 308})

UNTOLD = -1
"""The size of a body that is being made: it goes in chunks."""
OpenBody = Callable[[], Generator[bytes, None, None]]
"""Gives the bytes to send from their start; called again if they have to be sent again."""


@frozen
class Call:
    """A request. `body` is sent as it is; `open_body` gives one too large for that, of `size` bytes, which may be UNTOLD.

    `authorization` is the value of that field, which `fields` never hold. `own_fields` are the user's own, which are
    for the origin of the address alone as well. `confidential` says that the request itself gives a password away.
    """

    method: str
    url: str
    fields: Mapping[str, str] = field(default_factory=dict)
    own_fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    open_body: OpenBody | None = None
    size: int = 0
    confidential: bool = False


class Reply:
    """An answer. Its body has to be read to its end or closed: `stream`, `close`."""

    def __init__(self, answer: Answer, url: str, release: Callable[[], None]) -> None:
        self.status = answer.status
        self.fields = answer.fields
        self.url = url
        """Where the answer came from in the end."""
        self._answer = answer
        self._release = release

    @property
    def origin(self) -> Origin:
        """Who answered."""
        return origin_of(self.url)

    @property
    def is_coded(self) -> bool:
        """Whether `stream` gives other bytes than those on the wire."""
        return is_coded(self.fields)

    def stream(self, size: int) -> Iterator[bytes]:
        """Give the decoded body in pieces of up to `size` bytes. Raises OSError if it breaks off."""
        try:
            yield from decoded(self._answer.stream(size), self.fields, size)
        finally:
            # Also for those who stop in the middle: the rest would be taken for the next answer.
            self.close()

    def close(self) -> None:
        """Drop the rest of the body, and the connection if there is a lot of it."""
        self._answer.drop()
        self._release()


@frozen
class Sender:
    """Sends calls. `endpoint_of` says how the machine of a name, with or without port, is spoken to."""

    endpoint_of: Callable[[str], Endpoint]
    pools: Pools
    user_agent: str = "polyarch"

    def send(self, call: Call, endpoint: Endpoint | None = None) -> Reply:
        """Send a call, follow redirects and return the answer, whatever its status.

        `endpoint` is how the origin of the call is spoken to, if that is known better than by its name.
        Raises Unreachable, RemoteError for redirects that can't be followed.
        """
        home = origin_of(call.url)
        bare, login = split_login(call.url)
        call = replace(call, url=bare, authorization=call.authorization or basic(login))
        for _ in range(_REDIRECTS + 1):
            origin = origin_of(call.url)
            known = endpoint if origin == home else None
            reply = self._once(call, known or self.endpoint_of(str(origin)))
            location = reply.fields.get("Location")
            if reply.status not in _REDIRECTED or not location:
                return reply
            reply.close()
            call = _redirected(call, reply.status, location)
        raise RemoteError(f"{home} stopped after {_REDIRECTS} redirects at {shown(call.url)}")

    def _once(self, call: Call, endpoint: Endpoint) -> Reply:
        split = urlsplit(call.url)
        site = self.pools.site(endpoint, split.scheme, split.netloc)
        fields = {
            "Host": split.netloc,
            "User-Agent": self.user_agent,
            **call.own_fields,
            **call.fields,
        }
        fields |= proxy_fields(site)
        if call.authorization:
            fields["Authorization"] = call.authorization
        # Also of a body that can't be given, as when the work was cancelled, half a request has been sent.
        is_kept = False
        with contextlib.ExitStack() as on_error:
            try:
                connection = self.pools.take(site)
                is_kept = connection.is_kept
                on_error.callback(connection.close)
                answer = _exchange(connection, call, _target(site, call.url), fields)
            except OSError as error:
                if is_kept and isinstance(error, TimeoutError):
                    # What forgot this one, as routers do after some minutes, has forgotten the others as well.
                    self.pools.forget(site)
                raise Unreachable(call.url, error, is_kept=is_kept) from error
            on_error.pop_all()
        return Reply(answer, call.url, _once_only(self.pools, site, connection))


def _redirected(call: Call, status: int, location: str) -> Call:
    """Return the call that a redirect leads to."""
    try:
        url, login = split_login(urljoin(call.url, location))
    except ValueError as error:
        raise RemoteError(f"{shown(call.url)} leads to what is no address: {error}") from error
    is_same = origin_of(url) == origin_of(call.url)
    if call.confidential and not is_same:
        raise RemoteError(
            f"{shown(call.url)} leads to {shown(url)}, which isn't given the password of "
            f"{origin_of(call.url)}",
            hint="the server that asks for the password has to take it itself",
        )
    authorization = call.authorization if is_same else basic(login)
    if status == 303 and call.method != "HEAD":
        call = replace(call, method="GET", body=b"", open_body=None, size=0)
    return replace(
        call,
        url=url,
        authorization=authorization,
        own_fields=call.own_fields if is_same else {},
    )


def _exchange(connection: Connection, call: Call, target: str, fields: dict[str, str]) -> Answer:
    if call.open_body is not None:
        with contextlib.closing(call.open_body()) as body:
            if call.size == UNTOLD:
                fields["Transfer-Encoding"] = "chunked"
                return connection.exchange(call.method, target, fields, _in_chunks(body))
            fields["Content-Length"] = str(call.size)
            return connection.exchange(call.method, target, fields, body)
    if call.body or call.method in {"POST", "PUT", "PATCH"}:
        fields["Content-Length"] = str(len(call.body))
    return connection.exchange(call.method, target, fields, call.body)


def _in_chunks(body: Iterable[bytes]) -> Iterator[bytes]:
    """Give a body in the chunked coding. Source: RFC 9112, section 7.1."""
    for data in body:
        if data:
            yield b"%x\r\n" % len(data)
            yield data
            yield b"\r\n"
    yield b"0\r\n\r\n"


def _once_only(pools: Pools, site: Site, connection: Connection) -> Callable[[], None]:
    """Return what gives the connection back, the first time that it is called."""
    left = [connection]

    def release() -> None:
        if left:
            pools.give_back(site, left.pop())

    return release


def _target(site: Site, url: str) -> str:
    """Return what the request line names: the path, or the whole URL for a proxy that reads it."""
    clean = quote(url, safe="%/:?#[]@!$&'()*+,;=~").partition("#")[0]
    if site.is_forwarded:
        return clean
    split = urlsplit(clean)
    return (split.path or "/") + (f"?{split.query}" if split.query else "")
