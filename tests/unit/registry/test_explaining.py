from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from polyarch.oci.reference import parse as parse_reference
from polyarch.record import replace
from polyarch.registry.explaining import ExplainedHost, explain

AUTH = {"auth": base64.b64encode(b"me:pass-word").decode()}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_each_setting_names_its_file(environ: dict[str, str], tmp_path: Path) -> None:
    settings = write(
        tmp_path / "config/polyarch/registries.toml",
        '[registry."a.example"]\nmirrors = ["m.example/a"]\n[registry."m.example"]\nca = ["/ca.pem"]\n',
    )
    docker = write(tmp_path / "docker/config.json", json.dumps({"auths": {"m.example": AUTH}}))
    podman = write(
        tmp_path / "run/containers/auth.json", json.dumps({"auths": {"a.example": AUTH}})
    )
    environ["POLYARCH_INSECURE_REGISTRIES"] = "a.example"
    environ["https_proxy"] = "http://user:hidden@proxy.example:3128"

    found = explain(parse_reference("a.example/you/app:1"), environ, tmp_path / "etc")
    mirror, own = found.hosts

    assert mirror == ExplainedHost(
        url="https://m.example/v2/a/you/app",
        is_mirror=True,
        serves="all",
        tls="verified",
        authorities=("/ca.pem",),
        certificates=(),
        headers=(),
        proxy="http://proxy.example:3128",
        decided_by=(settings, "$POLYARCH_INSECURE_REGISTRIES"),
        user="me",
        credentials_from=docker,
        trouble="",
    )
    assert (own.url, own.tls) == ("https://a.example/v2/you/app", "not verified")
    assert (own.user, own.credentials_from) == ("me", podman)
    assert (found.push, found.scope) == (replace(own, serves="pushes"), "a.example")
    assert "pass-word" not in repr(found)


def test_nothing_decides_where_nothing_is_set(environ: dict[str, str], tmp_path: Path) -> None:
    (own,) = explain(parse_reference("app"), environ, tmp_path / "etc").hosts

    assert own.url == "https://registry-1.docker.io/v2/library/app"
    assert (own.decided_by, own.user, own.trouble) == ((), "", "")


def test_a_helper_that_is_missing_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "docker/config.json", '{"credsStore": "nowhere"}')

    (own,) = explain(parse_reference("a.example/app"), environ, tmp_path / "etc").hosts

    assert "docker-credential-nowhere" in own.trouble


def test_who_is_asked_for_what_and_which_files_do_not_count(
    environ: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path / "etc/docker/daemon.json", '{"insecure-registries": ["a.example"]}')
    settings = write(
        tmp_path / "etc/containerd/certs.d/a.example/hosts.toml",
        '[host."https://m.example"]\ncapabilities = ["pull", "push"]\n'
        '[host."https://m.example".header]\nx-key = "hidden"\n'
        '[host."https://n.example/root"]\ncapabilities = ["resolve"]\n',
    )
    scoped = write(
        tmp_path / "docker/buildx/config/m.example/you/app@push/config.json",
        json.dumps({"auths": {"m.example": AUTH}}),
    )

    found = explain(parse_reference("a.example/you/app"), environ, tmp_path / "etc")

    assert [(host.url, host.serves, host.headers) for host in found.hosts] == [
        ("https://m.example/v2/you/app", "content", ("x-key",)),
        ("https://a.example/v2/you/app", "all", ()),
        ("https://n.example/root/v2/you/app", "tags", ()),
    ]
    assert found.push is not None
    assert (found.push.url, found.push.user, found.push.credentials_from) == (
        "https://m.example/v2/you/app",
        "me",
        scoped,
    )
    assert {host.decided_by for host in found.hosts} == {(settings,)}
    assert found.passed_over == (str(tmp_path / "etc/docker/daemon.json"),)
    assert "hidden" not in repr(found)


def test_what_is_blocked_is_asked_for_nowhere(environ: dict[str, str], tmp_path: Path) -> None:
    text = '[[registry]]\nprefix = "a.example/bad"\nblocked = true\n'
    settings = write(tmp_path / "etc/containers/registries.conf", text)

    found = explain(parse_reference("a.example/bad/app"), environ, tmp_path / "etc")

    assert (found.hosts, found.push, found.blocked_by) == ((), None, (settings,))
    assert found.scope == "a.example/bad"
