from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.http.endpoint import Endpoint
from polyarch.registry.hosts import Host, Hosts, load_hosts

HUB = Host(endpoint=Endpoint(host="registry-1.docker.io"))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """What is `/etc` elsewhere; there is nothing in it."""
    return tmp_path / "etc"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def names(hosts: Hosts, domain: str, path: str = "app") -> list[str]:
    return [host.name for host in hosts.reading(domain, path, by_tag=True)]


def test_settings_and_certificates(tmp_path: Path, machine: Path, environ: dict[str, str]) -> None:
    write(
        tmp_path / "config/polyarch/registries.toml",
        '[registry."docker.io"]\nmirrors = ["m.example/hub"]\n'
        '[registry."m.example"]\ninsecure = true\nca = ["/ca.pem"]\n'
        'keypair = [{ key = "/k", cert = "/c" }]\n',
    )
    certificates = machine / "docker/certs.d/m.example"
    for name in ("ca.crt", "client.cert"):
        write(certificates / name, "")
    more = Path(write(machine / "containers/certs.d/m.example/other.crt", ""))
    mirror = Endpoint(
        host="m.example",
        insecure=True,
        authorities=(Path("/ca.pem"), certificates / "ca.crt", more),
        keypairs=(
            (Path("/c"), Path("/k")),
            (certificates / "client.cert", certificates / "client.key"),
        ),
    )

    hosts = load_hosts(environ, machine)

    assert hosts.reading("docker.io", "library/app", by_tag=True) == (
        Host(endpoint=mirror, base="/v2/hub/", namespace="docker.io", is_mirror=True),
        HUB,
    )
    assert hosts.writing("docker.io", "library/app") == HUB
    assert hosts.endpoint("m.example") == mirror


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000"])
def test_loopback_is_plain(host: str, machine: Path, environ: dict[str, str]) -> None:
    hosts = load_hosts(environ, machine)

    assert hosts.writing(host, "app") == Host(endpoint=Endpoint(host=host), plain=True)


@pytest.mark.parametrize("text", ["[registry", "registry = 1", '[registry."a"]\nmirrors = "b"'])
def test_damaged_settings_name_the_file(
    text: str, tmp_path: Path, machine: Path, environ: dict[str, str]
) -> None:
    write(tmp_path / "config/polyarch/registries.toml", text)

    with pytest.raises(InputError, match=r"registries\.toml: "):
        load_hosts(environ, machine)


def test_variables_stand_in_for_a_file(machine: Path, environ: dict[str, str]) -> None:
    variables = {
        "POLYARCH_INSECURE_REGISTRIES": "a.example, b.example:5000, 10.0.0.0/8",
        "POLYARCH_REGISTRY_CA": "/ca.pem",
        "POLYARCH_REGISTRY_MIRRORS": "m.example",
    }

    hosts = load_hosts({**environ, **variables}, machine)
    everywhere = load_hosts({**environ, "POLYARCH_INSECURE_REGISTRIES": "*"}, machine)

    authorities = (Path("/ca.pem"),)
    assert hosts.endpoint("a.example") == Endpoint(
        host="a.example", insecure=True, authorities=authorities
    )
    assert hosts.endpoint("c.example") == Endpoint(host="c.example", authorities=authorities)
    assert hosts.endpoint("10.2.3.4:5000").insecure
    assert names(hosts, "docker.io") == ["m.example", "registry-1.docker.io"]
    assert everywhere.endpoint("any.example").insecure


def test_each_file_comes_after_another(
    tmp_path: Path, machine: Path, environ: dict[str, str]
) -> None:
    users = tmp_path / "config"
    files = {
        machine / "docker/daemon.json": '{"registry-mirrors": ["https://m0.example"]}',
        users / "docker/daemon.json": '{"registry-mirrors": ["https://m1.example"]}',
        machine
        / "containerd/certs.d/docker.io/hosts.toml": '[host."https://m2.example"]\ncapabilities = ["pull", "resolve"]',
        users
        / "containerd/certs.d/docker.io/hosts.toml": '[host."https://m3.example"]\ncapabilities = ["pull", "resolve"]',
        machine / "containers/registries.conf": containers("m4.example"),
        machine / "containers/registries.conf.d/1.conf": containers("m5.example"),
        users / "containers/registries.conf.d/1.conf": containers("m6.example"),
        machine / "buildkit/buildkitd.toml": '[registry."docker.io"]\nmirrors = ["m7.example"]',
        users / "polyarch/registries.toml": '[registry."docker.io"]\nmirrors = ["m8.example"]',
    }
    environ["POLYARCH_USER"] = "0"

    for number, (path, text) in enumerate(files.items()):
        write(path, text)
        assert names(load_hosts(environ, machine), "docker.io")[0] == f"m{number}.example"

    # Those of one program are one file.
    kept = [each for number, each in enumerate(files) if number in {1, 3, 6, 7}]
    assert load_hosts(environ, machine).passed_over("docker.io", "app") == tuple(
        map(str, reversed(kept))
    )


def containers(mirror: str) -> str:
    return f'[[registry]]\nprefix = "docker.io"\n[[registry.mirror]]\nlocation = "{mirror}"\n'


@pytest.mark.parametrize(("user", "found"), [("0", "of-root"), ("1000", "of-user")])
def test_the_files_of_root_are_for_root(
    user: str, found: str, tmp_path: Path, machine: Path, environ: dict[str, str]
) -> None:
    """In the engine's namespaces everyone is root; who called it is told by a variable."""
    for directory, name in ((machine, "of-root"), (tmp_path / "config", "of-user")):
        text = f'[registry."docker.io"]\nmirrors = ["{name}"]'
        write(directory / "buildkit/buildkitd.toml", text)

    hosts = load_hosts({**environ, "POLYARCH_USER": user}, machine)

    assert names(hosts, "docker.io") == [found, "registry-1.docker.io"]


def test_what_is_said_of_all_counts_where_nothing_else_is_said(
    tmp_path: Path, machine: Path, environ: dict[str, str]
) -> None:
    write(tmp_path / "config/polyarch/registries.toml", '[registry."*"]\ninsecure = true')
    write(machine / "docker/daemon.json", '{"registry-mirrors": ["https://m.example"]}')

    hosts = load_hosts(environ, machine)

    assert [host.endpoint.insecure for host in hosts.reading("docker.io", "a", by_tag=True)] == [
        True,
        False,
    ]
    assert hosts.writing("other.example", "a").endpoint.insecure


def engine(machine: Path, environ: Mapping[str, str], settings: dict[str, object]) -> Hosts:
    write(machine / "docker/daemon.json", json.dumps(settings))
    return load_hosts(environ, machine)


def test_settings_of_the_engine(machine: Path, environ: dict[str, str]) -> None:
    hosts = engine(
        machine,
        environ,
        {
            "registry-mirrors": ["https://m.example/", "http://plain.example:5000"],
            "insecure-registries": ["http://old.example", "10.0.0.0/8", "fd00::/8"],
        },
    )

    assert hosts.reading("docker.io", "app", by_tag=True) == (
        Host(endpoint=Endpoint(host="m.example"), namespace="docker.io", is_mirror=True),
        Host(
            endpoint=Endpoint(host="plain.example:5000"),
            namespace="docker.io",
            plain=True,
            is_mirror=True,
        ),
        HUB,
    )
    for name in ("old.example", "10.9.8.7:5000", "[fd00::1]:5000", "[fd00::1]"):
        assert hosts.writing(name, "app") == Host(
            endpoint=Endpoint(host=name, insecure=True), plain=True
        )
    for name in ("11.0.0.1", "[fe80::1]:5000", "nobody.invalid"):
        assert hosts.writing(name, "app") == Host(endpoint=Endpoint(host=name))
    assert hosts.scope("10.9.8.7:5000", "app") == "10.0.0.0/8"


def test_damaged_settings_of_the_engine_name_the_file(
    machine: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(InputError, match=r"daemon\.json: registry-mirrors is a list of texts"):
        engine(machine, environ, {"registry-mirrors": "m.example"})


@pytest.mark.parametrize(
    ("told", "name", "base", "is_plain"),
    [
        ("m.example", "m.example", "/v2/", False),
        ("https://m.example:5000/hub/", "m.example:5000", "/v2/hub/", False),
        ("http://m.example/hub", "m.example", "/v2/hub/", True),
    ],
)
def test_mirrors_with_a_scheme(
    machine: Path, environ: dict[str, str], told: str, name: str, base: str, is_plain: bool
) -> None:
    own = Path(environ["XDG_CONFIG_HOME"]) / "polyarch/registries.toml"
    write(own, f'[registry."docker.io"]\nmirrors = ["{told}"]\n')
    variable = {**environ, "POLYARCH_REGISTRY_MIRRORS": told}

    for hosts in (load_hosts(environ, machine), load_hosts(variable, machine)):
        mirror, *_ = hosts.reading("docker.io", "library/app", by_tag=True)
        assert (mirror.name, mirror.base, mirror.plain) == (name, base, is_plain)
