import pytest

from polyarch.dockerfile.lowering.ports import parse_ports
from polyarch.errors import DockerfileError


@pytest.mark.parametrize(
    ("word", "ports"),
    [
        ("80", ["80/tcp"]),
        ("80/", ["80/tcp"]),
        ("080/UDP", ["80/udp"]),
        ("0", ["0/tcp"]),
        ("8-10/sctp", ["8/sctp", "9/sctp", "10/sctp"]),
        ("1:2", ["2/tcp"]),
        (":2", ["2/tcp"]),
        ("1-2:5-6", ["5/tcp", "6/tcp"]),
        ("1-9:5", ["5/tcp"]),
        ("127.0.0.1::5", ["5/tcp"]),
        ("[::1]:1:5", ["5/tcp"]),
        ("::1:1:5", ["5/tcp"]),
        ("65535", ["65535/tcp"]),
        ("0" * 5000 + "8", ["8/tcp"]),
    ],
)
def test_parse_ports(word: str, ports: list[str]) -> None:
    assert parse_ports(word) == ports


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("/tcp", "no port specified: /tcp<empty>"),
        ("1:", "no port specified: <empty>"),
        ("x", "invalid containerPort: x"),
        ("-1", "invalid containerPort: -1"),
        ("+1", "invalid containerPort: +1"),
        ("9-8", "invalid containerPort: 9-8"),
        ("1-2-3", "invalid containerPort: 1-2-3"),
        ("65536", "invalid containerPort: 65536"),
        ("²", "invalid containerPort: ²"),
        ("80/http", "invalid proto: http"),
        ("x:80", "invalid hostPort: x"),
        ("1-3:5-6", "invalid ranges specified for container and host Ports: 5-6 and 1-3"),
        ("host:1:2", "invalid IP address: host"),
        ("[::g]:1:2", "invalid IP address: ::g"),
    ],
)
def test_bad_ports(word: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_ports(word)
    assert str(caught.value) == message
