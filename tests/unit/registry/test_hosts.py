from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.http.endpoint import Endpoint
from polyarch.registry.hosts import Host, load_hosts


def test_settings_and_certificates(tmp_path: Path) -> None:
    (tmp_path / "polyarch").mkdir()
    (tmp_path / "polyarch/registries.toml").write_text(
        '[registry."docker.io"]\nmirrors = ["m.example/hub"]\n'
        '[registry."m.example"]\ninsecure = true\nca = ["/ca.pem"]\n'
        'keypair = [{ key = "/k", cert = "/c" }]\n'
    )
    certificates = tmp_path / "m.example"
    certificates.mkdir()
    for name in ("ca.crt", "client.cert"):
        (certificates / name).touch()

    mirror = Endpoint(
        host="m.example",
        insecure=True,
        authorities=(Path("/ca.pem"), certificates / "ca.crt"),
        keypairs=(
            (Path("/c"), Path("/k")),
            (certificates / "client.cert", certificates / "client.key"),
        ),
    )

    hosts = load_hosts({"XDG_CONFIG_HOME": str(tmp_path)}, tmp_path)

    assert hosts.serving("docker.io", mirrors=True) == (
        Host(endpoint=mirror, prefix="hub/", namespace="docker.io"),
        Host(endpoint=Endpoint(host="registry-1.docker.io")),
    )
    assert hosts.endpoint("m.example") == mirror


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000"])
def test_loopback_is_plain(host: str, tmp_path: Path) -> None:
    hosts = load_hosts({"XDG_CONFIG_HOME": str(tmp_path)}, tmp_path)

    assert hosts.serving(host, mirrors=False) == (Host(endpoint=Endpoint(host=host), plain=True),)


@pytest.mark.parametrize("text", ["[registry", "registry = 1", '[registry."a"]\nmirrors = "b"'])
def test_damaged_settings_name_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "polyarch").mkdir()
    (tmp_path / "polyarch/registries.toml").write_text(text)

    with pytest.raises(InputError, match=r"registries\.toml: "):
        load_hosts({"XDG_CONFIG_HOME": str(tmp_path)})


def test_variables_stand_in_for_a_file(tmp_path: Path) -> None:
    variables = {
        "POLYARCH_INSECURE_REGISTRIES": "a.example, b.example:5000",
        "POLYARCH_REGISTRY_CA": "/ca.pem",
        "POLYARCH_REGISTRY_MIRRORS": "m.example",
    }

    hosts = load_hosts({"XDG_CONFIG_HOME": str(tmp_path), **variables}, tmp_path)
    everywhere = load_hosts({"POLYARCH_INSECURE_REGISTRIES": "*"}, tmp_path)

    authorities = (Path("/ca.pem"),)
    assert hosts.endpoint("a.example") == Endpoint(
        host="a.example", insecure=True, authorities=authorities
    )
    assert hosts.endpoint("c.example") == Endpoint(host="c.example", authorities=authorities)
    assert [host.name for host in hosts.serving("docker.io", mirrors=True)] == [
        "m.example",
        "registry-1.docker.io",
    ]
    assert everywhere.endpoint("any.example").insecure
