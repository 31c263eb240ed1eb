"""Addresses of daemons."""

from __future__ import annotations

import pytest

from polyarch.buildkit.address import Target, parse_target
from polyarch.errors import InputError

TLS = {"cacert": "/ca", "cert": "/cert", "key": "/key", "servername": "b", "default-load": "true"}
DIAL = ("buildctl", "dial-stdio")


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("unix:///run/b.sock", Target(path="/run/b.sock")),
        ("docker:///var/run/d.sock", Target(engine="unix:///var/run/d.sock")),
        ("docker://", Target(engine="unix:///var/run/docker.sock")),
        ("tcp://b.example:1234", Target(host="b.example", port=1234)),
        ("tcp://[::1]:1234", Target(host="::1", port=1234)),
        ("docker-container://bk", Target(program=("docker", "exec", "-i", "bk", *DIAL))),
        ("nerdctl-container://bk", Target(program=("nerdctl", "exec", "-i", "bk", *DIAL))),
        (
            "nerdctl-container://bk?namespace=k8s.io",
            Target(program=("nerdctl", "--namespace", "k8s.io", "exec", "-i", "bk", *DIAL)),
        ),
        ("podman-container://bk", Target(program=("podman", "exec", "-i", "bk", *DIAL))),
        (
            "docker-container://bk?context=far",
            Target(program=("docker", "--context", "far", "exec", "-i", "bk", *DIAL)),
        ),
        (
            "kube-pod://bk-0?namespace=ci&container=b",
            Target(
                program=(
                    "kubectl", "--namespace=ci", "exec", "-i", "--container=b", "bk-0", "--", *DIAL
                )
            ),
        ),
        ("ssh://me@far:2222", Target(program=("ssh", "-p", "2222", "-l", "me", "--", "far", "buildctl dial-stdio"))),
        (
            "ssh://far/run/my.sock",
            Target(program=("ssh", "--", "far", "buildctl --addr unix:///run/my.sock dial-stdio")),
        ),
    ],
)  # fmt: skip
def test_addresses(address: str, target: Target) -> None:
    assert parse_target(address, {}) == target


def test_certificates_are_options_of_the_node() -> None:
    target = parse_target("tcp://b.example:1", TLS)

    assert target.tls == {"cacert": "/ca", "cert": "/cert", "key": "/key", "servername": "b"}


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("b.example:1234", {}, "invalid endpoint 'b.example:1234'"),
        ("tcp://b.example", {}, "invalid endpoint 'tcp://b.example'"),
        ("ssh://-oProxyCommand=x", {}, "invalid endpoint"),
        ("docker-container://", {}, "invalid endpoint"),
        ("ftp://x", {}, "unsupported endpoint 'ftp://x'"),
        ("tcp://b.example:1", {"cert": "/c"}, "a client certificate has two files"),
    ],
)
def test_what_is_no_address(address: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_target(address, options)
