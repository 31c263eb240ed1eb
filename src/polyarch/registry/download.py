"""GET of any web server, for ADD and for build contexts: nothing of a registry's API, nor its passwords."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, unquote, urljoin, urlsplit

from polyarch.errors import RemoteError
from polyarch.record import frozen
from polyarch.registry.hosts import Endpoint, Hosts
from polyarch.registry.http import Answer, Connection
from polyarch.registry.pools import Pools, Site, proxy_fields

__all__ = ["Getter", "redacted"]

_ATTEMPTS = 4
_REDIRECTS = 10
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


def redacted(url: str) -> str:
    """Return an address without the password that it may hold."""
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


@frozen
class Getter:
    """Fetches files. `hosts` says which certificates to trust; `pause` waits between attempts."""

    hosts: Hosts
    pools: Pools
    user_agent: str = "polyarch"
    pause: Callable[[float], None] = time.sleep

    @contextmanager
    def get(self, url: str, fields: Mapping[str, str]) -> Iterator[Answer]:
        """Send GET and give the answer, whatever its status, for as long as the block lasts.

        Redirects are followed; what passes is tried again. Raises RemoteError.
        """
        _check(url)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer, site, connection = self._follow(url, dict(fields))
            except OSError as error:
                if attempt == _ATTEMPTS or "certificate" in str(error).lower():
                    raise _unreachable(url, error) from error
                self.pause(0.1 * 2**attempt)
                continue
            if answer.status in _PASSING and attempt < _ATTEMPTS:
                answer.drop()
                connection.close()
                self.pause(0.1 * 2**attempt)
                continue
            break
        try:
            yield answer
        except OSError as error:
            raise RemoteError(f"{redacted(url)} broke off: {error}", temporary=True) from error
        finally:
            answer.drop()
            self.pools.give_back(site, connection)

    def _follow(self, url: str, fields: dict[str, str]) -> tuple[Answer, Site, Connection]:
        for _ in range(_REDIRECTS + 1):
            answer, site, connection = self._once(url, fields)
            location = answer.fields.get("Location")
            if answer.status not in _REDIRECTED or not location:
                return answer, site, connection
            answer.drop()
            self.pools.give_back(site, connection)
            _check(location)
            target = urljoin(url, location)
            if urlsplit(target).hostname != urlsplit(url).hostname:
                fields.pop("Authorization", None)
            url = target
        raise RemoteError(f"{redacted(url)}: stopped after {_REDIRECTS} redirects")

    def _once(self, url: str, fields: Mapping[str, str]) -> tuple[Answer, Site, Connection]:
        split = urlsplit(url)
        login, _, host = split.netloc.rpartition("@")
        endpoint: Endpoint = self.hosts.endpoints(host, mirrors=False)[-1]
        site = self.pools.site(endpoint, split.scheme, host)
        headers = {"Host": host, "User-Agent": self.user_agent, **_basic(login), **fields}
        headers |= proxy_fields(site)
        connection = self.pools.take(site)
        try:
            answer = connection.exchange("GET", _target(site, url), headers, b"")
        except OSError:
            connection.close()
            raise
        return answer, site, connection


def _check(url: str) -> None:
    """Raise RemoteError for what is no address. Text that isn't UTF-8 is none either."""
    try:
        _ = urlsplit(url).port
        url.encode()
    except ValueError as error:
        raise RemoteError(
            f"{redacted(url)!r} is no address: {error}", hint="write https://HOST/PATH"
        ) from error


def _basic(login: str) -> dict[str, str]:
    if not login:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(unquote(login).encode()).decode()}"}


def _target(site: Site, url: str) -> str:
    split = urlsplit(quote(url, safe="%/:?#[]@!$&'()*+,;=~"))
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return f"{split.scheme}://{site.host}{path}" if site.is_forwarded else path


def _unreachable(url: str, error: OSError) -> RemoteError:
    is_certificate = "CERTIFICATE_VERIFY_FAILED" in str(error)
    host = urlsplit(url).netloc.rpartition("@")[2]
    return RemoteError(
        f"can't fetch {redacted(url)}: {error}",
        hint=f"trust its CA: put it into /etc/docker/certs.d/{host}/ca.crt"
        if is_certificate
        else "check the name, the network and the proxy settings",
        temporary=not is_certificate,
    )
