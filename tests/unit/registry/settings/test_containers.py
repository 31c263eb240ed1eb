"""`registries.conf` of podman, buildah and skopeo."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.registry.hosts import Hosts
from polyarch.registry.settings.containers import containers_files, read_containers

EXAMPLE = """
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
location = "internal.example/bar"

[[registry.mirror]]
location = "mirror-0.example/mirror-for-foo"

[[registry.mirror]]
location = "mirror-1.example"
insecure = true
pull-from-mirror = "digest-only"

[[registry]]
location = "registry.com"
insecure = true

[[registry]]
prefix = "*.wild.example"
blocked = true

[[registry]]
prefix = "docker.io/library"
mirror-by-digest-only = true
[[registry.mirror]]
location = "hub.example/library"
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    path = tmp_path / "registries.conf"
    path.write_text(EXAMPLE)
    return Hosts((read_containers(path),))


def urls(hosts: Hosts, domain: str, path: str, *, by_tag: bool) -> list[str]:
    rest = "manifests/1" if by_tag else "blobs/sha256:0"
    found = hosts.reading(domain, path, by_tag=by_tag)
    return [f"{host.name}{host.path(f'{path}/{rest}')}" for host in found]


def test_what_is_behind_a_prefix_stays(hosts: Hosts) -> None:
    assert urls(hosts, "example.com", "foo/image", by_tag=True) == [
        "mirror-0.example/v2/mirror-for-foo/image/manifests/1",
        "internal.example/v2/bar/image/manifests/1",
    ]
    assert urls(hosts, "example.com", "foo/image", by_tag=False) == [
        "mirror-0.example/v2/mirror-for-foo/image/blobs/sha256:0",
        "mirror-1.example/v2/image/blobs/sha256:0",
        "internal.example/v2/bar/image/blobs/sha256:0",
    ]
    assert urls(hosts, "docker.io", "library/app", by_tag=False) == [
        "hub.example/v2/library/app/blobs/sha256:0",
        "registry-1.docker.io/v2/library/app/blobs/sha256:0",
    ]
    assert urls(hosts, "docker.io", "library/app", by_tag=True) == [
        "registry-1.docker.io/v2/library/app/manifests/1"
    ]


def test_a_prefix_ends_where_a_name_does(hosts: Hosts) -> None:
    for path in ("food/image", "image"):
        assert urls(hosts, "example.com", path, by_tag=True) == [
            f"example.com/v2/{path}/manifests/1"
        ]


def test_nothing_is_told_of_the_registry_that_is_meant(hosts: Hosts) -> None:
    found = hosts.reading("example.com", "foo/image", by_tag=False)

    assert [host.namespace for host in found] == ["", "", ""]
    assert [host.repository("foo/image") for host in found] == [
        "mirror-for-foo/image",
        "image",
        "bar/image",
    ]


def test_what_is_pushed_goes_to_the_registry_of_its_name(hosts: Hosts) -> None:
    own = hosts.writing("example.com", "foo/image")

    assert (own.name, own.path("foo/image")) == ("example.com", "/v2/foo/image")


def test_insecure_is_tls_that_nobody_checks_or_none(hosts: Hosts) -> None:
    mirror = hosts.reading("example.com", "foo/image", by_tag=False)[1]
    own = hosts.writing("registry.com", "image")

    assert [(each.plain, each.endpoint.insecure) for each in (mirror, own)] == [(True, True)] * 2


def test_what_is_blocked_is_refused_by_the_file(hosts: Hosts, tmp_path: Path) -> None:
    source = str(tmp_path / "registries.conf")
    for domain in ("a.wild.example", "a.b.wild.example:5000"):
        assert hosts.blocked_by(domain, "image") == (source,)
        with pytest.raises(InputError, match=f"{domain}/image is blocked by {source}"):
            hosts.writing(domain, "image")
    assert hosts.blocked_by("wild.example", "image") == ()


def test_a_users_own_file_is_in_the_place_of_the_machines(tmp_path: Path) -> None:
    machine, users = tmp_path / "etc", tmp_path / "config/containers"
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    for directory in (machine / "containers", users):
        (directory / "registries.conf.d").mkdir(parents=True)
        for name in ("b.conf", "a.conf", "c.toml"):
            (directory / "registries.conf.d" / name).touch()
    drop_ins = [users / "registries.conf.d" / name for name in ("a.conf", "b.conf")]

    without = paths(environ, machine)
    (users / "registries.conf").touch()
    with_own = paths(environ, machine)
    environ["CONTAINERS_REGISTRIES_CONF"] = "/named"

    of_machine = [machine / "containers/registries.conf.d" / name for name in ("a.conf", "b.conf")]
    assert without == [machine / "containers/registries.conf", *of_machine, *drop_ins]
    assert with_own == [users / "registries.conf", *drop_ins]
    assert paths(environ, machine)[0] == Path("/named")


def paths(environ: dict[str, str], machine: Path) -> list[Path]:
    return list(map(Path, containers_files(environ, machine)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[registry]]\nprefix = 1", "prefix is a text"),
        ("[[registry]]\nblocked = true", "a registry has a prefix or a location"),
        ('[[registry]]\nlocation = "a"\ninsecure = "yes"', "insecure is true or false"),
        (
            '[[registry]]\nlocation = "a"\nmirror = [{location = "b", pull-from-mirror = "never"}]',
            "pull-from-mirror is all, digest-only or tag-only",
        ),
        ('[[registry]]\nlocation = "a"\nmirror = [{}]', "a mirror of a has no location"),
    ],
)
def test_damaged_settings_name_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(text)

    with pytest.raises(InputError, match=rf"registries\.conf: {message}"):
        read_containers(path)


def test_lists_of_version_1(tmp_path: Path) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(
        "[registries.search]\nregistries = ['docker.io']\n"
        "[registries.insecure]\nregistries = ['r.example:5000', 'bad.example']\n"
        "[registries.block]\nregistries = ['bad.example']\n"
    )
    hosts = Hosts((read_containers(path),))

    assert hosts.writing("r.example:5000", "app").plain
    assert not hosts.writing("docker.io", "library/app").plain
    with pytest.raises(InputError, match=r"bad\.example/app is blocked by"):
        hosts.writing("bad.example", "app")


@pytest.mark.parametrize("text", ["registries = 3", "[registries]\ninsecure = 3"])
def test_lists_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(text)

    with pytest.raises(InputError, match=str(path)):
        read_containers(path)
