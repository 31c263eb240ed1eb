"""Why nobody answered, as real servers bring it about."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.http.endpoint import Endpoint
from polyarch.http.follow import Call, Sender
from polyarch.http.pools import Pools
from polyarch.http.unreachable import Reason, Unreachable, reason_of
from tests.support.network.certificates import server_side
from tests.support.network.web import Page, web_server


@pytest.fixture
def pools() -> Iterator[Pools]:
    pools = Pools({"POLYARCH_REGISTRY_TIMEOUT": "0.2"})
    yield pools
    pools.close()


def failure(pools: Pools, url: str, *authorities: Path) -> Unreachable:
    sender = Sender(
        endpoint_of=lambda host: Endpoint(host=host, authorities=authorities), pools=pools
    )
    with pytest.raises(Unreachable) as caught:
        sender.send(Call(method="GET", url=url))
    return caught.value


def test_a_certificate_that_nobody_knows(pools: Pools, certificates: Path) -> None:
    with web_server(server_side(certificates)) as web:
        error = failure(pools, web.address)

    assert (error.reason, error.temporary) == (Reason.UNTRUSTED, False)
    assert error.hint == f"trust its CA: put it into /etc/docker/certs.d/{web.host}/ca.crt"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_has_to_show_a_certificate(
    pools: Pools, certificates: Path, version: ssl.TLSVersion
) -> None:
    context = server_side(certificates)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    with web_server(context) as web:
        error = failure(pools, web.address, certificates / "ca.crt")

    assert (error.reason, error.temporary) == (Reason.UNWELCOME, False)


def test_http_where_tls_was_expected(pools: Pools) -> None:
    with web_server() as web:
        error = failure(pools, f"https://{web.host}/")

    assert (error.reason, error.temporary) == (Reason.NO_TLS, False)


def test_nothing_listens(pools: Pools) -> None:
    with web_server() as web:
        pass
    error = failure(pools, web.address)

    assert (error.reason, error.temporary) == (Reason.ABSENT, False)
    assert str(error) == f"can't reach {web.address}: [Errno 111] Connection refused"


def test_nothing_is_said(pools: Pools) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(pools, f"http://127.0.0.1:{silent.getsockname()[1]}/")

    assert (error.reason, error.temporary) == (Reason.SILENT, False)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no such name"), Reason.ABSENT),
        (socket.gaierror(socket.EAI_AGAIN, "the servers of names are away"), Reason.BROKEN),
        (ConnectionResetError(104, "reset"), Reason.BROKEN),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Reason.BROKEN),
        # Words don't count.
        (OSError("certificate verify failed: CERTIFICATE_VERIFY_FAILED"), Reason.BROKEN),
    ],
)
def test_other_reasons(error: OSError, reason: Reason) -> None:
    assert reason_of(error) is reason


def test_a_kept_connection_in_tls(certificates: Path) -> None:
    """Tickets for other sessions come unasked, and are no sign of its end; the end is."""
    pools = Pools({})
    endpoint = Endpoint(host="x", authorities=(certificates / "ca.crt",))
    with web_server(server_side(certificates)) as web:
        web.pages["/"] = Page(b"here")
        site = pools.site(endpoint, "https", web.host)
        connection = pools.take(site)
        fields = {"Host": web.host}
        assert b"".join(connection.exchange("GET", "/", fields, b"").stream(100)) == b"here"
        pools.give_back(site, connection)

        assert pools.take(site) is connection

        connection.exchange("GET", "/", {**fields, "Connection": "close"}, b"").drop()
        select.select([connection._socket], [], [], 5)
        assert connection.is_stale()
        connection.close()
