"""containerd's `hosts.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.http.endpoint import Endpoint
from polyarch.registry.hosts import Host, Hosts
from polyarch.registry.settings.containerd import ContainerdHosts

EXAMPLE = """
server = "https://upstream.example"
ca = "own.crt"
capabilities = ["pull", "resolve"]

[host."https://mirror.example/path"]
capabilities = ["pull"]
ca = ["/abs.crt", "rel.crt"]
client = [["client.cert", "client.key"], "both.pem"]
skip_verify = true
[host."https://mirror.example/path".header]
x-tenant = ["ours", "yours"]

[host."http://plain.example:5000/v2/proxy"]
override_path = true
capabilities = ["resolve", "push"]
"""


def hosts_of(directory: Path) -> Hosts:
    return Hosts((ContainerdHosts(directories=(directory,)),))


def write(directory: Path, text: str = EXAMPLE) -> Path:
    directory.mkdir()
    (directory / "hosts.toml").write_text(text)
    return directory


def test_hosts_are_asked_in_order_and_the_server_last(tmp_path: Path) -> None:
    directory = write(tmp_path / "a.example_5000_")
    hosts = hosts_of(tmp_path)
    mirror = Host(
        endpoint=Endpoint(
            host="mirror.example",
            insecure=True,
            authorities=(Path("/abs.crt"), directory / "rel.crt"),
            keypairs=(
                (directory / "client.cert", directory / "client.key"),
                (directory / "both.pem", directory / "both.pem"),
            ),
        ),
        base="/path/v2/",
        namespace="a.example:5000",
        is_mirror=True,
        resolves=False,
        headers=(("x-tenant", "ours, yours"),),
    )
    plain = Host(
        endpoint=Endpoint(host="plain.example:5000"),
        base="/v2/proxy/",
        namespace="a.example:5000",
        plain=True,
        is_mirror=True,
    )
    own = Host(
        endpoint=Endpoint(host="upstream.example", authorities=(directory / "own.crt",)),
        namespace="a.example:5000",
    )

    assert hosts.reading("a.example:5000", "app", by_tag=False) == (mirror, own)
    assert hosts.reading("a.example:5000", "app", by_tag=True) == (plain, own)
    assert hosts.writing("a.example:5000", "app") == plain
    assert plain.repository("app") == "proxy/app"


def test_without_a_server_the_registry_is_last(tmp_path: Path) -> None:
    write(tmp_path / "docker.io", '[host."mirror.example"]\ncapabilities = ["pull", "resolve"]')
    hosts = hosts_of(tmp_path)

    found = hosts.reading("docker.io", "library/app", by_tag=True)

    assert [host.name for host in found] == ["mirror.example", "registry-1.docker.io"]
    assert hosts.writing("docker.io", "library/app") == found[-1]


def test_a_directory_for_those_without_one(tmp_path: Path) -> None:
    write(tmp_path / "_default", '[host."https://all.example"]')
    own = tmp_path / "own.example"
    own.mkdir()
    (own / "ca.crt").touch()
    hosts = hosts_of(tmp_path)

    assert [h.name for h in hosts.reading("any.example", "a", by_tag=True)] == [
        "all.example",
        "any.example",
    ]
    assert hosts.reading("own.example", "a", by_tag=True) == (
        Host(endpoint=Endpoint(host="own.example", authorities=(own / "ca.crt",))),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[host."ftp://a"]', "'ftp://a' is no address of http or https"),
        ('capabilities = ["fly"]', "a host can pull, resolve, push, not 'fly'"),
        (
            '[host."https://a"]\nclient = [["a"]]',
            "a client is a file, or a certificate and its key",
        ),
        ('[host."https://a"]\nca = 1', "ca is a list of texts"),
        ('[host."https://a".header]\nx = "a\\nb"', "the header 'x' has more than one line"),
    ],
)
def test_damaged_settings_name_the_file(text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.example", text)

    with pytest.raises(InputError, match=f"hosts.toml: {message}"):
        hosts_of(tmp_path).writing("a.example", "app")
