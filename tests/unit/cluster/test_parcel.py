"""What of a request leaves this machine: contexts, secrets, credentials; and what can't."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polyarch.cluster.parcel import credentials_for, parcel_of
from polyarch.errors import ContextNotFound, InputError
from polyarch.request.values import BuildRequest, CacheEntry, Output, Secret


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text(
        "FROM --platform=$BUILDPLATFORM private.test/base:1 AS a\nCOPY --from=other.test/x /a /b\n"
    )
    (root / ".dockerignore").write_text("Dockerfile\nsecret\n")
    (root / "secret").write_text("s")
    (root / "main.c").write_text("c")
    return root


def listed(parcel: Any, name: str) -> list[str]:
    return [each.path for each in parcel.archives[name].listed]


def test_a_context_goes_without_what_is_ignored_but_with_its_dockerfile(context: Path) -> None:
    parcel = parcel_of(BuildRequest(context=str(context)), {})

    assert listed(parcel, "context") == [".dockerignore", "Dockerfile", "main.c"]
    assert parcel.dockerfile == "Dockerfile"
    assert list(parcel.archives) == ["context"]


def test_a_dockerfile_elsewhere_goes_alone(context: Path, tmp_path: Path) -> None:
    for name in ("app.d", "app.d.dockerignore", "other"):
        (tmp_path / name).write_text("FROM scratch\n")

    request = BuildRequest(context=str(context), dockerfile=str(tmp_path / "app.d"))
    parcel = parcel_of(request, {})

    assert listed(parcel, "dockerfile") == ["app.d", "app.d.dockerignore"]
    assert parcel.dockerfile == "app.d"


def test_what_is_fetched_or_given_as_text_is_left_to_the_worker(context: Path) -> None:
    for request in (
        BuildRequest(context="https://git.test/app.git#main", dockerfile="sub/Dockerfile"),
        BuildRequest(context="-", stdin=b"FROM scratch\n"),
    ):
        assert parcel_of(request, {}).archives == {}
    parcel = parcel_of(
        BuildRequest(context=str(context), dockerfile="-", stdin=b"FROM scratch"), {}
    )
    assert listed(parcel, "context") == [".dockerignore", "main.c"]
    assert parcel.dockerfile == ""


def test_named_contexts_are_directories_images_or_addresses(context: Path) -> None:
    named = {
        "more": str(context),
        "image": "docker-image://app.test/x",
        "web": "https://t.test/x.tgz",
    }

    parcel = parcel_of(BuildRequest(context="-", build_contexts=named), {})

    assert listed(parcel, ":more") == [".dockerignore", "main.c"]
    assert list(parcel.archives) == [":more"]
    for value, said in (("oci-layout://dir", "can't be given to a cluster"), ("none", "not found")):
        with pytest.raises(InputError, match=said):
            parcel_of(BuildRequest(context="-", build_contexts={"x": value}), {})


def test_secrets_are_read_here(context: Path) -> None:
    secrets = (Secret(id="a", path=str(context / "secret")), Secret(id="b", env="B"))

    parcel = parcel_of(BuildRequest(context="-", secrets=secrets), {"B": "from-b"})

    assert [(each.id, each.value, each.path, each.env) for each in parcel.request.secrets] == [
        ("a", b"s", "", ""),
        ("b", b"from-b", "", ""),
    ]
    assert "from-b" not in repr(parcel)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ssh": {"default": "/agent"}}, "ssh agents and keys can't be lent"),
        ({"cache_to": (CacheEntry(type="local", attributes={"dest": "d"}),)}, "type=local"),
        ({"outputs": (Output(type="docker"),)}, "can't be loaded yet"),
        (
            {"outputs": (Output(type="oci", destination="d", attributes={"tar": "false"}),)},
            "layout",
        ),
    ],
)
def test_what_can_not_leave_this_machine_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parcel_of(BuildRequest(context="-", **fields), {})


def test_a_context_that_is_not_there() -> None:
    with pytest.raises(ContextNotFound, match=r'path "nowhere" not found'):
        parcel_of(BuildRequest(context="nowhere"), {})


def test_credentials_are_those_of_registries_that_are_named(context: Path) -> None:
    def auth(host: str) -> dict[str, str]:
        return {"username": host, "password": "p"}

    hosts = ("private.test", "other.test", "out.test", "cache.test", "third.test", "transfer.test")
    known = {"auths": {host: auth(host) for host in hosts}}
    request = BuildRequest(
        context=str(context),
        outputs=(Output(type="registry", attributes={"name": "out.test/app:1"}),),
        cache_from=(CacheEntry(type="registry", attributes={"ref": "cache.test/c"}),),
    )

    text = credentials_for(
        parcel_of(request, {}), ["transfer.test"], {"DOCKER_AUTH_CONFIG": json.dumps(known)}
    )

    assert set(json.loads(text)["auths"]) == set(hosts) - {"third.test"}
    assert credentials_for(parcel_of(BuildRequest(context="-"), {}), [], {"HOME": "/none"}) == ""
