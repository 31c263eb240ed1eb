"""Connections: one pool for each endpoint, with its CAs and the proxy that the environment names."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping

import urllib3

from polyarch.errors import InputError
from polyarch.registry.hosts import Endpoint, is_loopback

__all__ = ["Pools", "proxy_for"]

_CONNECTIONS = 5  # four blobs at once, as BuildKit has it, and one document
_TIMEOUT = urllib3.Timeout(connect=30, read=120)


class Pools:
    """The open connections of a process."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._pools: dict[tuple[Endpoint, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def pool(self, endpoint: Endpoint, scheme: str, host: str) -> urllib3.PoolManager:
        """Return the connections that are set up as `endpoint` is, for requests to `host`.

        Raises InputError naming the certificate that can't be used.
        """
        proxy = proxy_for(scheme, host, self._environ)
        with self._lock:
            pool = self._pools.get((endpoint, proxy))
            if pool is None:
                pool = self._pools[endpoint, proxy] = self._open(endpoint, proxy)
            return pool

    def _open(self, endpoint: Endpoint, proxy: str) -> urllib3.PoolManager:
        context = None if endpoint.plain and not endpoint.insecure else self._context(endpoint)
        if proxy:
            return urllib3.ProxyManager(
                proxy, maxsize=_CONNECTIONS, timeout=_TIMEOUT, ssl_context=context, retries=False
            )
        return urllib3.PoolManager(
            maxsize=_CONNECTIONS, timeout=_TIMEOUT, ssl_context=context, retries=False
        )

    def _context(self, endpoint: Endpoint) -> ssl.SSLContext:
        # Takes $SSL_CERT_FILE and $SSL_CERT_DIR into account by itself.
        context = ssl.create_default_context()
        bundle = self._environ.get("REQUESTS_CA_BUNDLE")
        path: object = bundle
        try:
            if bundle:
                context.load_verify_locations(bundle)
            for path in endpoint.authorities:
                context.load_verify_locations(path)
            for path, key in endpoint.keypairs:
                context.load_cert_chain(path, key)
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                f"can't use the certificate {path} for {endpoint.host}: {error}",
                hint="certificates and keys are files in PEM form",
            ) from error
        if endpoint.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def proxy_for(scheme: str, host: str, environ: Mapping[str, str]) -> str:
    """Return the URL of the proxy for requests to `host` (with its port), or "" for none.

    `NO_PROXY` lists hosts and domains, with or without a leading dot; "*" is all of them.
    """
    proxy = environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY") or ""
    if not proxy or is_loopback(host):
        return ""
    name = host.rpartition(":")[0] or host
    for exception in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(","):
        bare = exception.strip().removeprefix("*").removeprefix(".")
        if exception.strip() == "*" or (bare and (host == bare or f".{name}".endswith(f".{bare}"))):
            return ""
    return proxy if "://" in proxy else f"http://{proxy}"
