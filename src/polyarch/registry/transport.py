"""Requests to registries: to which machine, and as whom; the API is `client`'s matter.

A request goes to the mirrors of its registry first, if they may answer it; any error there leads to the
next. It is sent once, and again with what opens the registry after 401; who tries again after errors is
`http.retry`. A challenge counts if it comes from the machine that was asked, by the scheme it was asked in: not
from storage that a blob was redirected to, nor from where an upload went.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Self
from urllib.parse import urlencode, urlsplit

from polyarch.errors import (
    OutOfReach,
    PolyarchError,
    RegistryError,
    RemoteError,
    Unanswered,
)
from polyarch.http.follow import UNTOLD, Call, OpenBody, Reply, Sender
from polyarch.http.origin import Origin, origin_of, shown
from polyarch.http.pools import Pools
from polyarch.http.retry import passes, told_wait
from polyarch.http.unreachable import Reason, Unreachable
from polyarch.oci.descriptor import DOCUMENT_LIMIT
from polyarch.record import field, frozen, replace
from polyarch.registry.auth import Authorizer, parse_challenges
from polyarch.registry.credentials import Choice, Credentials
from polyarch.registry.hosts import Host, Hosts, load_hosts
from polyarch.registry.trials import Trial, with_trials

__all__ = ["SETTINGS", "UNTOLD", "OpenBody", "Request", "Response", "Transport", "open_transport"]

_CHUNK = 1 << 20
_AWAY = 60.0
"""Seconds for which a mirror that didn't answer is left alone."""
SETTINGS = "~/.config/polyarch/registries.toml"
"""Where users may say how a registry is spoken to, in hints."""


@frozen
class Request:
    """A request to the registry `domain`, about its `repository`; `path` comes behind `/v2/`, or is a whole URL.

    `body` is sent as it is; `open_body` gives one too large for that, of `size` bytes (or UNTOLD). `reads` allows mirrors
    to answer; `by_tag` is about what a tag stands for, which some of them aren't believed about.
    """

    method: str
    domain: str
    path: str
    scopes: tuple[str, ...]
    repository: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    open_body: OpenBody | None = None
    size: int = 0
    reads: bool = False
    by_tag: bool = False


class Response:
    """An answer. Its body has to be read to its end or closed: `read`, `stream`, `close`.

    `is_own` tells if the registry itself answered, and not somebody whom it named. `tried` says which
    mirrors were asked before, and what they said.
    """

    def __init__(self, reply: Reply, *, is_own: bool) -> None:
        self.status = reply.status
        self.headers = reply.fields
        self.url = reply.url
        self.is_own = is_own
        self.is_coded = reply.is_coded
        self.tried: tuple[str, ...] = ()
        self.on_silence: Callable[[], None] | None = None
        """What hears of a body that doesn't come."""
        self._reply = reply

    def challenges(self) -> tuple[str, ...]:
        """Return the `WWW-Authenticate` headers of the registry itself."""
        return self.headers.all("WWW-Authenticate") if self.is_own else ()

    def read(self, limit: int = DOCUMENT_LIMIT) -> bytes:
        """Return the body. Raises RegistryError if it has more than `limit` bytes."""
        data = bytearray()
        for chunk in self.stream():
            data += chunk
            if len(data) > limit:
                self.close()
                raise RegistryError(f"{shown(self.url)} gives more than the {limit} bytes allowed")
        return bytes(data)

    def stream(self) -> Iterator[bytes]:
        """Give the body in pieces. Raises RegistryError (temporary) if it breaks off."""
        try:
            yield from self._reply.stream(_CHUNK)
        except OSError as error:
            if self.on_silence is not None and isinstance(error, TimeoutError):
                self.on_silence()
            raise Unanswered(f"{shown(self.url)} broke off: {error}", temporary=True) from error

    def close(self) -> None:
        """Drop the rest of the body, and the connection if there is a lot of it."""
        self._reply.close()


class Transport:
    """Sends requests; shared by all threads of a process. Its connections end with its block."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Credentials,
        *,
        user_agent: str = "polyarch",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._environ = environ
        self._hosts = hosts
        self._credentials = credentials
        self._user_agent = user_agent
        self._pools = Pools(environ)
        self._sender = Sender(endpoint_of=hosts.endpoint, pools=self._pools, user_agent=user_agent)
        self._authorizers: dict[tuple[str, Choice], Authorizer] = {}
        self._fell_back: set[str] = set()
        self._away: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def sender(self) -> Sender:
        """What sends requests to other services than registries, by the user's same settings."""
        return self._sender

    @property
    def is_offline(self) -> bool:
        """Whether nothing is asked of anybody."""
        return self._pools.is_offline

    def trusting(self, domain: str) -> Transport:
        """Return another one that believes a registry, whatever it speaks; to be closed as well."""
        return Transport(
            self._hosts.trusting(domain),
            self._credentials,
            user_agent=self._user_agent,
            environ=self._environ,
        )

    def known_by(self, credentials: Credentials) -> Transport:
        """Return another one for a user with other credentials; to be closed as well."""
        return Transport(
            self._hosts, credentials, user_agent=self._user_agent, environ=self._environ
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._pools.close()

    def send(self, request: Request) -> Response:
        """Send a request and return the answer, whatever its status.

        Raises RegistryError if nobody answers, InputError for settings that can't be used.
        """
        *mirrors, last = self._asked(request)
        away = [each for each in mirrors if time.monotonic() < self._away.get(each.name, 0.0)]
        tried: list[Trial] = []
        for mirror in mirrors:
            if mirror not in away and (found := self._try(request, mirror, tried)) is not None:
                return found
        try:
            response = self._ask(request, last)
        except RegistryError as error:
            for mirror in away:
                if (found := self._try(request, mirror, tried)) is not None:
                    return found
            if not tried:
                raise
            raise with_trials(error, tried) from error
        response.tried = tuple(each.text for each in tried)
        return response

    def _try(self, request: Request, mirror: Host, tried: list[Trial]) -> Response | None:
        """Return a mirror's answer; None, and why in `tried`, if it doesn't have what is wanted."""
        try:
            response = self._ask(request, mirror)
        except RemoteError as error:
            if isinstance(error, OutOfReach) and not error.temporary:
                self._pass_over(mirror)
            text = f"its mirror {mirror.name} failed before: {error}"
            tried.append(Trial(text=text, may_pass=error.temporary))
            return None
        if response.status < 400:
            response.on_silence = partial(self._pass_over, mirror)
            return response
        text = f"its mirror {mirror.name} said {response.status} before"
        tried.append(Trial(text=text, may_pass=passes(response.status)))
        response.close()
        return None

    def _pass_over(self, mirror: Host) -> None:
        """Ask a mirror nothing for a while: one that is silent would cost each request half a minute or more."""
        self._away[mirror.name] = time.monotonic() + _AWAY

    def _asked(self, request: Request) -> tuple[Host, ...]:
        domain, repository = request.domain, request.repository
        if request.reads:
            return self._hosts.reading(domain, repository, by_tag=request.by_tag)
        return (self._hosts.writing(domain, repository),)

    def _ask(self, request: Request, host: Host) -> Response:
        """Send to one machine, as somebody whom it lets in."""
        request = replace(request, scopes=tuple(_scope(each, host) for each in request.scopes))
        authorizer = self._authorizer(host, request.scopes)
        header = authorizer.header(request.scopes)
        response = self._once(request, host, header)
        if response.status != 401:
            return response
        challenges = parse_challenges(response.challenges())
        try:
            answer = authorizer.answer(challenges, request.scopes, header)
        except PolyarchError:
            response.close()
            raise
        if not answer:
            return response
        response.close()
        return self._once(request, host, answer)

    def _authorizer(self, host: Host, scopes: tuple[str, ...]) -> Authorizer:
        """Return what opens a machine to the user that we are for these scopes."""
        key = (host.name, self._credentials.choose(host.name, scopes))
        with self._lock:
            found = self._authorizers.get(key)
            if found is None:
                found = self._authorizers[key] = Authorizer(
                    host.name,
                    lambda again: self._credentials.find(host.name, scopes, again=again),
                    lambda *request: self._fetch_token(host, *request),
                )
            return found

    def _fetch_token(
        self, host: Host, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        self._check_realm(host, url)
        fields = {name: value for name, value in headers.items() if name != "Authorization"}
        authorization = headers.get("Authorization", "")
        call = Call(
            method=method,
            url=url,
            fields=fields,
            authorization=authorization,
            body=body,
            confidential=bool(authorization or body),
        )
        response = self._send(call, host, host.name)
        if passes(response.status):
            response.close()
            raise RegistryError(
                f"failed to authorize at {shown(url)}: status {response.status}",
                status=response.status,
                temporary=True,
                wait=told_wait(response.headers),
            )
        return response.status, response.read()

    def _check_realm(self, host: Host, realm: str) -> None:
        """Refuse to send a password in clear on behalf of a registry that speaks TLS."""
        is_trusting = host.plain or host.endpoint.insecure
        if origin_of(realm).is_secure or is_trusting or not self._origin(host).is_secure:
            return
        raise RegistryError(
            f"the registry at {host.name} asks for passwords to be sent in clear, to {shown(realm)}",
            hint="its realm has to be an https address; where the network is trusted, set insecure = true "
            f'for [registry."{host.name}"] in {SETTINGS}',
        )

    def _once(self, request: Request, host: Host, authorization: str) -> Response:
        if "://" in request.path:
            # An upload may go to another machine, which has no business with our tokens.
            own = self._origin(host)
            url = _secured(request.path, own)
            is_own = origin_of(url) == own
            call = _call(request, url, authorization if is_own else "")
            call = replace(call, own_fields=dict(host.headers) if is_own else {})
            return self._send(call, host, request.domain)
        scheme = self._origin(host).scheme
        call = _call(request, _url(request, host, scheme), authorization)
        call = replace(call, own_fields=dict(host.headers))
        try:
            return self._send(call, host, request.domain)
        except RegistryError:
            if scheme == "http" or not (host.plain and host.endpoint.insecure):
                raise
        self._fell_back.add(host.name)
        call = replace(call, url=_url(request, host, "http"))
        return self._send(call, host, request.domain)

    def _origin(self, host: Host) -> Origin:
        """Return how a machine is spoken to now."""
        is_plain = host.plain and (not host.endpoint.insecure or host.name in self._fell_back)
        return origin_of(f"{'http' if is_plain else 'https'}://{host.name}")

    def _send(self, call: Call, host: Host, domain: str) -> Response:
        own = self._origin(host)
        try:
            reply = self._sender.send(call, host.endpoint if origin_of(call.url) == own else None)
        except Unreachable as error:
            raise _unreachable(domain, error) from error
        return Response(reply, is_own=reply.origin == own)


def open_transport(environ: Mapping[str, str] = os.environ) -> Transport:
    """Return what speaks to registries, with the user's settings and credentials; a context manager."""
    return Transport(load_hosts(environ), Credentials(environ), environ=environ)


def _call(request: Request, url: str, authorization: str) -> Call:
    return Call(
        method=request.method,
        url=url,
        fields=request.headers,
        authorization=authorization,
        body=request.body,
        open_body=request.open_body,
        size=request.size,
    )


def _scope(scope: str, host: Host) -> str:
    """Return a scope by the name that a repository has at a machine."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return f"{kind}:{host.repository(name)}:{actions}" if kind == "repository" else scope


def _url(request: Request, host: Host, scheme: str) -> str:
    url = f"{scheme}://{host.name}{host.path(request.path)}"
    if not host.namespace:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'ns': host.namespace})}"


def _secured(url: str, own: Origin) -> str:
    """Return where an upload goes: to the registry itself as it is spoken to, in TLS.

    Registries behind a proxy that speaks TLS for them often don't know of it, and tell addresses of http.
    """
    told = origin_of(url)
    is_same = told.host == own.host and told.port in {80, own.port}
    if not own.is_secure or told.is_secure or not is_same:
        return url
    return urlsplit(url)._replace(scheme="https", netloc=str(own)).geturl()


def _unreachable(domain: str, error: Unreachable) -> RegistryError:
    hint = error.hint
    if error.reason is Reason.UNTRUSTED:
        hint = (
            f"trust its CA: put it into /etc/docker/certs.d/{domain}/ca.crt, "
            f'or name it by ca = ["FILE"] for [registry."{domain}"] in {SETTINGS}'
        )
    elif error.reason is Reason.UNWELCOME:
        hint = (
            "it may want a certificate of yours: put it and its key into "
            f"/etc/docker/certs.d/{domain}/client.cert and client.key, "
            f'or name them by keypair for [registry."{domain}"] in {SETTINGS}'
        )
    elif error.reason is Reason.NO_TLS:
        hint = f'it speaks plain HTTP: set http = true for [registry."{domain}"] in {SETTINGS}'
    kind = OutOfReach if error.reason.is_absence else Unanswered
    return kind(
        f"can't reach the registry at {error.origin}: {error.error}",
        hint=hint,
        temporary=error.temporary,
        passing=error.passing,
    )
