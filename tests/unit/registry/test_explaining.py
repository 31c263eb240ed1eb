from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from polyarch.oci.reference import parse as parse_reference
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

    mirror, own = explain(parse_reference("a.example/you/app:1"), environ)

    assert mirror == ExplainedHost(
        url="https://m.example/v2/a/you/app",
        is_mirror=True,
        tls="verified",
        authorities=("/ca.pem",),
        certificates=(),
        proxy="http://proxy.example:3128",
        decided_by=(settings, "$POLYARCH_INSECURE_REGISTRIES"),
        user="me",
        credentials_from=docker,
        trouble="",
    )
    assert (own.url, own.tls) == ("https://a.example/v2/you/app", "not verified")
    assert (own.user, own.credentials_from) == ("me", podman)
    assert "pass-word" not in repr((mirror, own))


def test_nothing_decides_where_nothing_is_set(environ: dict[str, str]) -> None:
    (own,) = explain(parse_reference("app"), environ)

    assert own.url == "https://registry-1.docker.io/v2/library/app"
    assert (own.decided_by, own.user, own.trouble) == ((), "", "")


def test_a_helper_that_is_missing_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "docker/config.json", '{"credsStore": "nowhere"}')

    (own,) = explain(parse_reference("a.example/app"), environ)

    assert "docker-credential-nowhere" in own.trouble
