"""The files by which a step knows the network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.runtime.network import hosts_file, resolv_conf
from polyarch.runtime.step import Network


def test_hosts() -> None:
    assert hosts_file("me", (("db", "10.0.0.1"), ("db", "::2"))) == (
        "127.0.0.1\tlocalhost me\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "10.0.0.1\tdb\n"
        "::2\tdb\n"
    )


PUBLIC = "".join(
    f"nameserver {each}\n"
    for each in ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844")
)


@pytest.mark.parametrize(
    ("host", "network", "expected"),
    [
        ("nameserver 127.0.0.1\n", Network.HOST, "nameserver 127.0.0.1\n"),
        ("nameserver 127.0.0.1\nsearch a\n", Network.NONE, f"search a\n{PUBLIC}"),
        ("nameserver ::1\nnameserver 1.2.3.4", Network.NONE, "nameserver 1.2.3.4\n"),
        ("", Network.HOST, ""),
        ("", Network.NONE, PUBLIC),
        ("#nameserver 127.0.0.1\n", Network.NONE, f"#nameserver 127.0.0.1\n{PUBLIC}"),
    ],
)
def test_name_servers(host: str, network: Network, expected: str) -> None:
    assert resolv_conf(host, network) == expected


@given(host=st.text("nameserv 127.0:1#;\n", max_size=40))
def test_off_the_network_some_server_that_is_not_this_machine_remains(host: str) -> None:
    lines = resolv_conf(host, Network.NONE).splitlines()
    servers = [
        line.split()[1] for line in lines if line.startswith("nameserver ") and line.split()[1:]
    ]

    assert not any(server.startswith(("127.", "::1")) for server in servers)
