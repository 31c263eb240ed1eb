from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.http.endpoint import Endpoint
from polyarch.http.offline import Offline
from polyarch.http.pools import Pools, Site, proxy_fields, proxy_for
from polyarch.http.unreachable import Reason, reason_of
from tests.support.network.registry import Registry

DOCKER = Endpoint(host="registry.example")


def test_connections_are_kept_per_site(server: Registry) -> None:
    pools = Pools({})
    site = pools.site(Endpoint(host=server.host), "http", server.host)

    first = pools.take(site)
    first.exchange("GET", "/v2/x/blobs/y", {"Host": server.host}, b"").drop()
    pools.give_back(site, first)

    assert pools.take(site) is first
    pools.give_back(site, first)
    pools.close()
    assert not first.is_kept


def test_who_was_hung_up_on_is_not_kept(server: Registry) -> None:
    pools = Pools({})
    site = pools.site(Endpoint(host=server.host), "http", server.host)
    first = pools.take(site)
    pools.give_back(site, first)  # no answer was read: it can't be used again

    second = pools.take(site)

    assert second is not first
    first.close()
    second.close()


def test_a_proxy_reads_plain_requests() -> None:
    site = Pools({"http_proxy": "http://me:s%20cret@proxy:3128"}).site(
        DOCKER, "http", "registry.example"
    )

    assert site.is_forwarded
    assert proxy_fields(site) == {"Proxy-Authorization": "Basic bWU6cyBjcmV0"}


def test_a_proxy_leads_to_https() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heads: list[bytes] = []

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                heads.append(peer.recv(4096))
                peer.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        pools = Pools({"HTTPS_PROXY": proxy})
        with pytest.raises(OSError, match=r"doesn't lead to registry\.example:443: 403 Forbidden"):
            pools.take(pools.site(DOCKER, "https", "registry.example"))
        thread.join()

    assert heads[0].startswith(b"CONNECT registry.example:443 HTTP/1.1\r\n")


def test_a_proxy_with_tls_is_refused() -> None:
    pools = Pools({"https_proxy": "https://proxy:1"})

    with pytest.raises(InputError, match="can't use a proxy that is spoken to in 'https'"):
        pools.take(pools.site(DOCKER, "https", "registry.example"))


def test_certificates_that_are_none(tmp_path: Path) -> None:
    bad = tmp_path / "ca.crt"
    bad.write_text("nothing")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        endpoint = Endpoint(host=host, authorities=(bad,))
        with pytest.raises(InputError, match=rf"can't use the certificate {bad} for {host}"):
            Pools({}).take(Site(endpoint=endpoint, scheme="https", host=host))


@pytest.mark.parametrize(
    ("host", "no_proxy", "wanted"),
    [
        ("registry.example", "", "http://p"),
        ("registry.example", "other", "http://p"),
        ("registry.example:443", ".example", ""),
        ("registry.example", "*", ""),
        ("localhost:5000", "", ""),
        ("registry.example", "a.example,registry.example:443", ""),
        ("registry.example:5000", "registry.example:443", "http://p"),
        ("registry.example:5000", "Registry.Example:5000", ""),
        ("a.registry.example", "*.example", ""),
        ("badexample", "example", "http://p"),
        ("10.1.2.3:5000", "10.0.0.0/8", ""),
        ("11.1.2.3:5000", "10.0.0.0/8 11.1.2.3", ""),
        ("11.1.2.3", "10.0.0.0/8, 11.1.2.3:80", "http://p"),
        ("[fd00::1]:5000", "fd00::/8", ""),
        ("[fd00::1]:5000", "fd00::1", ""),
        ("registry.example", "10.0.0.0/8,no/network", "http://p"),
    ],
)
def test_which_proxy(host: str, no_proxy: str, wanted: str) -> None:
    assert proxy_for("https", host, {"https_proxy": "p", "no_proxy": no_proxy}) == wanted


@pytest.mark.parametrize(
    ("scheme", "host", "address"),
    [("https", "[::1]:5000", ("::1", 5000)), ("https", "a", ("a", 443)), ("http", "a", ("a", 80))],
)
def test_addresses(scheme: str, host: str, address: tuple[str, int]) -> None:
    assert Site(endpoint=DOCKER, scheme=scheme, host=host).address == address


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("r.example", "http://proxy:3128"),
        ("r.example:5000", "http://proxy:3128"),
        ("in.corp:5000", ""),
        ("corp", ""),
        ("localhost:5000", ""),
    ],
)
def test_proxy(host: str, expected: str) -> None:
    environ = {"HTTPS_PROXY": "proxy:3128", "NO_PROXY": "other, .corp"}

    assert proxy_for("https", host, environ) == expected


def test_nobody_is_spoken_to_offline(server: Registry) -> None:
    pools = Pools({"POLYARCH_OFFLINE": "1"})

    with pytest.raises(Offline) as caught:
        pools.take(pools.site(Endpoint(host=server.host), "http", server.host))

    assert reason_of(caught.value) is Reason.OFFLINE
    assert reason_of(caught.value).is_absence
    assert server.requests == []
