"""Connections: made to an endpoint with its CAs, through the proxy of the environment, and kept.

TLS is loaded by the first connection that needs it: a registry on the loopback interface needs none.
"""

from __future__ import annotations

import base64
import math
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from polyarch.errors import InputError
from polyarch.http.connecting import connect
from polyarch.http.connection import Connection
from polyarch.http.endpoint import Endpoint, is_loopback
from polyarch.http.noproxy import is_excepted
from polyarch.http.offline import Offline, is_offline
from polyarch.record import frozen

if TYPE_CHECKING:
    import ssl

__all__ = ["Pools", "Site", "proxy_fields", "proxy_for"]

_KEPT = 5  # four blobs at once, as BuildKit has it, and one document
_PATIENCE = 120.0


@frozen
class Site:
    """Whom connections lead to: they are alike, and kept together, if these are equal.

    `host` has a port if the URL has one; `proxy` is a URL, or empty.
    """

    endpoint: Endpoint
    scheme: str
    host: str
    proxy: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """The name and the port."""
        return _address(self.scheme, self.host)

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy reads the requests, which then name the whole URL."""
        return bool(self.proxy) and self.scheme == "http"


class Pools:
    """The open connections of a process."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._patience = _patience(environ)
        self.is_offline = is_offline(environ)
        """Whether no connection is made."""
        self._idle: dict[Site, list[Connection]] = {}
        self._contexts: dict[Endpoint, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def site(self, endpoint: Endpoint, scheme: str, host: str) -> Site:
        """Return the site of requests to `host` that are set up as `endpoint` is."""
        proxy = proxy_for(scheme, host, self._environ)
        return Site(endpoint=endpoint, scheme=scheme, host=host, proxy=proxy)

    def take(self, site: Site) -> Connection:
        """Return a connection, kept or new. Raises OSError; InputError for bad certificates."""
        if self.is_offline:
            raise Offline
        while True:
            with self._lock:
                idle = self._idle.get(site)
                connection = idle.pop() if idle else None
            if connection is None:
                return self._open(site)
            if not connection.is_stale():
                return connection
            connection.close()

    def give_back(self, site: Site, connection: Connection) -> None:
        """Keep a connection for the next request, if it can be."""
        if not connection.is_kept:
            return
        with self._lock:
            idle = self._idle.setdefault(site, [])
            if len(idle) < _KEPT:
                idle.append(connection)
                return
        connection.close()

    def forget(self, site: Site) -> None:
        """Hang up the connections to a site that nobody uses."""
        with self._lock:
            idle = self._idle.pop(site, [])
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Hang up all connections that nobody uses."""
        with self._lock:
            idle = [each for kept in self._idle.values() for each in kept]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _open(self, site: Site) -> Connection:
        address = _proxy_address(site.proxy) if site.proxy else site.address
        with ExitStack() as on_error:
            sock = on_error.enter_context(connect(*address))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._secured(site, sock) if site.scheme == "https" else Connection(sock)
            connection.wait_for(self._patience)
            on_error.pop_all()
        return connection

    def _secured(self, site: Site, sock: socket.socket) -> Connection:
        from polyarch.http import tls  # noqa: PLC0415 - see the module

        host, port = site.address
        if site.proxy:
            target = f"{host}:{port}"
            Connection(sock).tunnel(target, {"Host": target, **_login(site.proxy)})
        with self._lock:
            context = self._contexts.get(site.endpoint)
            if context is None:
                context = tls.new_context(site.endpoint, self._environ.get("REQUESTS_CA_BUNDLE"))
                self._contexts[site.endpoint] = context
        return tls.secured(sock, host, context)


def _patience(environ: Mapping[str, str]) -> float:
    """Return for how many seconds an answer is waited for."""
    text = environ.get("POLYARCH_REGISTRY_TIMEOUT") or str(_PATIENCE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InputError(f"POLYARCH_REGISTRY_TIMEOUT={text} is no number of seconds above 0")
    return seconds


def proxy_fields(site: Site) -> dict[str, str]:
    """Return the header fields by which a proxy that reads the request knows the user."""
    return _login(site.proxy) if site.is_forwarded else {}


def _login(proxy: str) -> dict[str, str]:
    split = urlsplit(proxy)
    if split.username is None:
        return {}
    pair = f"{unquote(split.username)}:{unquote(split.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _proxy_address(proxy: str) -> tuple[str, int]:
    split = urlsplit(proxy)
    if split.scheme != "http":
        raise InputError(
            f"can't use a proxy that is spoken to in {split.scheme!r}",
            hint="set https_proxy and http_proxy to an address that begins with http://",
        )
    return _address("http", split.netloc.rpartition("@")[2])


def _address(scheme: str, host: str) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{host}")
        return split.hostname or "", split.port or (443 if scheme == "https" else 80)
    except ValueError as error:
        raise InputError(f"{host!r} is no host and port: {error}") from error


def proxy_for(scheme: str, host: str, environ: Mapping[str, str]) -> str:
    """Return the URL of the proxy for requests to `host` (with its port), or "" for none.

    Which hosts `NO_PROXY` excepts is said in `noproxy`.
    """
    proxy = environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY") or ""
    if not proxy or is_loopback(host):
        return ""
    if is_excepted(scheme, host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"
