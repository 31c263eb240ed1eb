"""Where a scheduler is, and what options say of it."""

from __future__ import annotations

import pytest

from polyarch.cluster.address import Certificates, parse_address, parse_cluster
from polyarch.errors import InputError

TLS = {"cacert": "ca.pem", "cert": "c.pem", "key": "k.pem"}


def test_an_address_is_a_host_and_a_port() -> None:
    assert parse_address("tcp://scheduler.test:8786") == "tcp://scheduler.test:8786"
    assert parse_address("tls://[::1]:1") == "tls://[::1]:1"


@pytest.mark.parametrize(
    "address", ["", "scheduler:8786", "tcp://scheduler", "tcp://:1", "tcp://h:x", "unix:///s"]
)
def test_anything_else_is_none(address: str) -> None:
    with pytest.raises(InputError, match="invalid endpoint"):
        parse_address(address)


def test_options_say_how_a_cluster_is_used() -> None:
    found = parse_cluster("tls://h:1", {**TLS, "transfer": "reg.test/t", "wait": "2.5"})

    assert found.certificates == Certificates(authority="ca.pem", certificate="c.pem", key="k.pem")
    assert found.transfer is not None
    assert found.transfer.repository == "reg.test/t"
    assert found.wait == 2.5


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("tcp://h:1", {"jobs": "2"}, 'invalid driver option "jobs"'),
        ("tcp://h:1", TLS, "certificates are for schedulers at tls://"),
        ("tls://h:1", {}, "tls://h:1 needs certificates"),
        ("tls://h:1", {"cacert": "ca.pem"}, "tls://h:1 needs certificates"),
        ("tcp://h:1", {"wait": "soon"}, "takes seconds, not 'soon'"),
        ("tcp://h:1", {"transfer": "Not A Name"}, "the option transfer takes a repository"),
    ],
)
def test_options_that_do_not_fit(address: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_cluster(address, options)
