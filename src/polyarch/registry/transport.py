"""Requests to registries: to which machine, as whom, and how often; the API is `client`'s matter.

A request goes to the mirrors of its registry first, if they may answer it; any error there leads to the
next. On the last machine a request is sent up to five times: with a token after 401, again after 408,
429 and passing errors of the server, and after a broken connection. HTTP/1.1 with kept connections.

urllib3 takes a tenth of a second to load, so it is loaded by the first request.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from polyarch.errors import NotFound, RegistryError
from polyarch.record import field, frozen, replace
from polyarch.registry.auth import Authorizer, merge_scopes, parse_challenges
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Endpoint, Hosts

if TYPE_CHECKING:
    import urllib3

    from polyarch.registry.pools import Pools

__all__ = ["OpenBody", "Request", "Response", "Transport", "refusal"]

_ATTEMPTS = 5
_REDIRECTS = 10
_BROKEN_PAUSE = 0.05
_CHUNK = 1 << 20
_DOCUMENT_LIMIT = 4 << 20
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

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str) -> None:
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = url
        self._raw = raw

    def challenges(self) -> tuple[str, ...]:
        """Return the `WWW-Authenticate` headers."""
        return tuple(self._raw.headers.getlist("WWW-Authenticate"))

    def read(self, limit: int = _DOCUMENT_LIMIT) -> bytes:
        """Return the body. Raises RegistryError if it has more than `limit` bytes."""
        data = bytearray()
        for chunk in self.stream():
            data += chunk
            if len(data) > limit:
                self._raw.close()
                raise RegistryError(f"{self.url} gives more than the {limit} bytes allowed")
        return bytes(data)

    def stream(self) -> Iterator[bytes]:
        """Give the body in pieces. Raises RegistryError (temporary) if it breaks off."""
        import urllib3  # noqa: PLC0415 - see the module

        try:
            yield from self._raw.stream(_CHUNK, decode_content=True)
            self._raw.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RegistryError(f"{self.url} broke off: {error}", temporary=True) from error

    def close(self) -> None:
        """Drop the rest of the body, and the connection if there is a lot of it."""
        if int(self.headers.get("Content-Length") or 0) <= _CHUNK:
            self._raw.drain_conn()
        else:
            self._raw.close()
        self._raw.release_conn()


class Transport:
    """Sends requests; shared by all threads of a process."""

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
        self._pools: Pools | None = None
        self._authorizers: dict[str, Authorizer] = {}
        self._fell_back: set[str] = set()
        self._lock = threading.Lock()

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
        import urllib3  # noqa: PLC0415 - see the module

        headers = {"User-Agent": self._user_agent, **request.headers}
        if authorization:
            headers["Authorization"] = authorization
        split = urlsplit(url)
        if split.netloc != endpoint.host:
            # The endpoint's trust ends with the endpoint.
            endpoint = replace(endpoint, authorities=(), keypairs=(), insecure=False)
        pool = self._connections().pool(endpoint, split.scheme, split.netloc)
        body: bytes | Generator[bytes, None, None] | None = request.body or None
        if request.open_body is not None:
            body = request.open_body()
            headers["Content-Length"] = str(request.size)
        elif request.method in {"POST", "PUT", "PATCH"}:
            headers["Content-Length"] = str(len(request.body))
        try:
            raw = pool.request(
                request.method,
                url,
                headers=headers,
                body=body,
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(request.domain, url, error) from error
        finally:
            if not isinstance(body, bytes | None):
                body.close()
        return Response(raw, url)

    def _connections(self) -> Pools:
        from polyarch.registry.pools import Pools  # noqa: PLC0415 - see the module

        with self._lock:
            if self._pools is None:
                self._pools = Pools()
            return self._pools


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
        hint = f"trust its CA: put it into /etc/docker/certs.d/{domain}/ca.crt"
    elif "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
        hint = f'it speaks plain HTTP: set http = true for [registry."{domain}"] in registries.toml'
    else:
        hint = "check the name, the network and the proxy settings"
    is_certificate = "certificate" in text.lower()
    return RegistryError(
        f"can't reach the registry at {urlsplit(url).netloc}: {text}",
        hint=hint,
        temporary=not is_certificate,
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
        hint = f"log in with a user who may do that: docker login {request.domain}"
    elif response.status == 429:
        hint = "the registry limits how often it is asked: log in, or wait"
    return RegistryError(
        text, hint=hint, status=response.status, codes=codes, temporary=response.status >= 500
    )


def _errors(response: Response) -> tuple[tuple[str, ...], list[str]]:
    """Read `{"errors": [{"code", "message"}]}`, the body of refusals; anything else tells nothing."""
    try:
        errors = json.loads(response.read())["errors"]
        codes = tuple(str(error.get("code", "")) for error in errors)
        return codes, [f"{e.get('code', '')}: {e.get('message', '')}" for e in errors]
    except (ValueError, KeyError, TypeError, AttributeError, RegistryError):
        return (), []
