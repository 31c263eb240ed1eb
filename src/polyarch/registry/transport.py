"""Requests to registries: to which machine, as whom, and how often; the API is `client`'s matter.

A request goes to the mirrors of its registry first, if they may answer it; any error there leads to the
next. On the last machine a request is sent up to five times: with a token after 401, again after 408,
429 and passing errors of the server, and after a broken connection.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from polyarch.errors import NotFound, RegistryError
from polyarch.record import field, frozen, replace
from polyarch.registry.auth import Authorizer, merge_scopes, parse_challenges
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Endpoint, Hosts
from polyarch.registry.http import Answer, Connection
from polyarch.registry.pools import Pools, Site, proxy_fields

__all__ = ["OpenBody", "Request", "Response", "Transport", "refusal"]

_ATTEMPTS = 5
_REDIRECTS = 10
_BROKEN_PAUSE = 0.05
_CHUNK = 1 << 20
_DOCUMENT_LIMIT = 4 << 20
_SETTINGS = "~/.config/polyarch/registries.toml"
_PASSING = frozenset({500, 503, 504})
_AGAIN = frozenset({408, 429})
_REDIRECTED = frozenset({301, 302, 303, 307, 308})

OpenBody = Callable[[], Generator[bytes, None, None]]
"""Gives the bytes to send from their start; called again if they have to be sent again."""


@frozen
class Request:
    """A request to the registry `domain`; `path` comes behind `/v2/`, or is a whole URL.

    `body` is sent as it is; `open_body` gives one too large for that, of `size` bytes. `mirrors` allows
    a mirror to answer.
    """

    method: str
    domain: str
    path: str
    scopes: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    open_body: OpenBody | None = None
    size: int = 0
    mirrors: bool = False


class Response:
    """An answer. Its body has to be read to its end or closed: `read`, `stream`, `close`."""

    def __init__(self, answer: Answer, url: str, release: Callable[[], None]) -> None:
        self.status = answer.status
        self.headers = answer.fields
        self.url = url
        self._answer = answer
        self._release = release

    def challenges(self) -> tuple[str, ...]:
        """Return the `WWW-Authenticate` headers."""
        return self.headers.all("WWW-Authenticate")

    def read(self, limit: int = _DOCUMENT_LIMIT) -> bytes:
        """Return the body. Raises RegistryError if it has more than `limit` bytes."""
        data = bytearray()
        for chunk in self.stream():
            data += chunk
            if len(data) > limit:
                self.close()
                raise RegistryError(f"{self.url} gives more than the {limit} bytes allowed")
        return bytes(data)

    def stream(self) -> Iterator[bytes]:
        """Give the body in pieces. Raises RegistryError (temporary) if it breaks off."""
        try:
            yield from self._answer.stream(_CHUNK)
        except OSError as error:
            raise RegistryError(f"{self.url} broke off: {error}", temporary=True) from error
        finally:
            # Also for those who stop in the middle: the rest would be taken for the next answer.
            self.close()

    def close(self) -> None:
        """Drop the rest of the body, and the connection if there is a lot of it."""
        self._answer.drop()
        self._release()


class Transport:
    """Sends requests; shared by all threads of a process. Its connections end with its block."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Credentials,
        *,
        user_agent: str = "polyarch",
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hosts = hosts
        self._credentials = credentials
        self._user_agent = user_agent
        self._pause = pause
        self._pools = Pools()
        self._authorizers: dict[str, Authorizer] = {}
        self._fell_back: set[str] = set()
        self._lock = threading.Lock()

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
        *mirrors, last = self._hosts.endpoints(request.domain, mirrors=request.mirrors)
        for mirror in mirrors:
            try:
                response = self._attempt(request, mirror, is_last=False)
            except RegistryError:
                continue
            if response.status < 400:
                return response
            response.close()
        return self._attempt(request, last, is_last=True)

    def _attempt(self, request: Request, endpoint: Endpoint, *, is_last: bool) -> Response:
        """Send to one machine as often as makes sense."""
        authorizer = self._authorizer(endpoint)
        header = authorizer.header(request.scopes)
        previous = 0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self._once(request, endpoint, header)
            except RegistryError as error:
                if not (is_last and error.temporary and attempt < _ATTEMPTS):
                    raise
                self._pause(_BROKEN_PAUSE)
                continue
            status = response.status
            if attempt == _ATTEMPTS:
                return response
            if status == 401 and previous != 401:
                challenges = parse_challenges(response.challenges())
                answer = authorizer.answer(challenges, request.scopes, header)
                if not answer:
                    return response
                header = answer
            elif status in _AGAIN or (status in _PASSING and is_last and status != previous):
                self._pause(_retry_after(response, attempt))
            else:
                return response
            response.close()
            previous = status
        raise AssertionError  # the last attempt returns or raises

    def _authorizer(self, endpoint: Endpoint) -> Authorizer:
        with self._lock:
            found = self._authorizers.get(endpoint.host)
            if found is None:
                found = self._authorizers[endpoint.host] = Authorizer(
                    endpoint.host,
                    lambda: self._credentials.find(endpoint.host),
                    lambda *request: self._fetch_token(endpoint, *request),
                )
            return found

    def _fetch_token(
        self, endpoint: Endpoint, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        request = Request(
            method=method, domain=endpoint.host, path=url, scopes=(), headers=headers, body=body
        )
        response = self._follow(request, endpoint, url, "")
        return response.status, response.read()

    def _once(self, request: Request, endpoint: Endpoint, authorization: str) -> Response:
        if "://" in request.path:
            # An upload may go to another machine, which has no business with our tokens.
            is_same = urlsplit(request.path).netloc == endpoint.host
            return self._follow(request, endpoint, request.path, authorization if is_same else "")
        scheme = "http" if self._is_plain(endpoint) else "https"
        url = _url(request, endpoint, scheme)
        try:
            return self._follow(request, endpoint, url, authorization)
        except RegistryError:
            if scheme == "http" or not (endpoint.plain and endpoint.insecure):
                raise
        self._fell_back.add(endpoint.host)
        return self._follow(request, endpoint, _url(request, endpoint, "http"), authorization)

    def _is_plain(self, endpoint: Endpoint) -> bool:
        return endpoint.plain and (not endpoint.insecure or endpoint.host in self._fell_back)

    def _follow(
        self, request: Request, endpoint: Endpoint, url: str, authorization: str
    ) -> Response:
        for _ in range(_REDIRECTS + 1):
            response = self._urlopen(request, endpoint, url, authorization)
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTED or not location:
                return response
            response.close()
            target = urljoin(url, location)
            if urlsplit(target).netloc != urlsplit(url).netloc:
                authorization = ""  # blobs lie at third parties
            url = target
        raise RegistryError(f"{request.domain} redirects more than {_REDIRECTS} times: {url}")

    def _urlopen(
        self, request: Request, endpoint: Endpoint, url: str, authorization: str
    ) -> Response:
        split = urlsplit(url)
        if split.netloc != endpoint.host:
            # The endpoint's trust ends with the endpoint.
            endpoint = replace(endpoint, authorities=(), keypairs=(), insecure=False)
        site = self._pools.site(endpoint, split.scheme, split.netloc)
        fields = {"Host": split.netloc, "User-Agent": self._user_agent, **request.headers}
        fields |= proxy_fields(site)
        if authorization:
            fields["Authorization"] = authorization
        connection: Connection | None = None
        try:
            connection = self._pools.take(site)
            answer = _exchange(connection, request, _target(site, url), fields)
        except OSError as error:
            if connection is not None:
                connection.close()
            raise _unreachable(request.domain, url, error) from error
        return Response(answer, url, _once_only(self._pools, site, connection))


def _exchange(
    connection: Connection, request: Request, target: str, fields: dict[str, str]
) -> Answer:
    if request.open_body is not None:
        fields["Content-Length"] = str(request.size)
        with contextlib.closing(request.open_body()) as body:
            return connection.exchange(request.method, target, fields, body)
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        fields["Content-Length"] = str(len(request.body))
    return connection.exchange(request.method, target, fields, request.body)


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


def _url(request: Request, endpoint: Endpoint, scheme: str) -> str:
    url = f"{scheme}://{endpoint.host}/v2/{endpoint.prefix}{request.path}"
    if not endpoint.namespace:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'ns': endpoint.namespace})}"


def _retry_after(response: Response, attempt: int) -> float:
    told = response.headers.get("Retry-After", "")
    return min(float(told), 30.0) if told.isdecimal() else 0.25 * 2**attempt


def _unreachable(domain: str, url: str, error: Exception) -> RegistryError:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        hint = (
            f"trust its CA: put it into /etc/docker/certs.d/{domain}/ca.crt, "
            f'or name it by ca = ["FILE"] for [registry."{domain}"] in {_SETTINGS}'
        )
    elif "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
        hint = f'it speaks plain HTTP: set http = true for [registry."{domain}"] in {_SETTINGS}'
    else:
        hint = "check the name, the network and the proxy settings"
    # Who isn't there, isn't trusted or is silent won't be different a second later.
    is_lasting = (
        "certificate" in text.lower()
        or isinstance(error, ConnectionRefusedError | TimeoutError)
        or getattr(error, "errno", 0) == socket.EAI_NONAME
    )
    return RegistryError(
        f"can't reach the registry at {urlsplit(url).netloc}: {text}",
        hint=hint,
        temporary=not is_lasting,
    )


def refusal(response: Response, request: Request, what: str) -> RegistryError | NotFound:
    """Return the error for an answer that isn't the wished one; `what` completes "can't ...".

    NotFound for what isn't there, else RegistryError with the codes of the distribution spec.
    """
    codes, messages = _errors(response)
    text = f"can't {what}: {request.method} {response.url} says {response.status}"
    if messages:
        text += ": " + "; ".join(messages)
    if response.status == 404:
        return NotFound(f"{text}: not found", hint="check the name and the tag")
    hint = ""
    if response.status in {401, 403}:
        wanted = " ".join(merge_scopes(request.scopes))
        pushes = "push" in wanted.rpartition(":")[2]
        kind = "push" if pushes else "pull"
        text = (
            f"{kind} access denied, repository does not exist or may require authorization: {text}"
        )
        hint = f"log in with a user who may do that: polyarch login {request.domain}"
    elif response.status == 429:
        hint = "the registry limits how often it is asked: log in, or wait"
    elif response.status == 400 and response.url.startswith("http:") and not codes:
        hint = (
            f'it may want HTTPS: set http = false for [registry."{request.domain}"] in {_SETTINGS}'
        )
    return RegistryError(
        text, hint=hint, status=response.status, codes=codes, temporary=response.status >= 500
    )


def _errors(response: Response) -> tuple[tuple[str, ...], list[str]]:
    """Read `{"errors": [{"code", "message"}]}`, the body of refusals; anything else tells nothing."""
    try:
        errors = json.loads(response.read())["errors"]
        codes = tuple(str(error.get("code", "")) for error in errors)
        return codes, [f"{e.get('code', '')}: {e.get('message', '')}" for e in errors]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, RegistryError):
        return (), []
