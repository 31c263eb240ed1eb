"""Registries that aren't there, refuse, break or lie: what is said, and what is tried again."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.machine.programs import Ended, Person
from tests.support.network.plants import MANIFEST, plant_image, tar_of
from tests.support.network.registry import Registry, digest_of, serving
from tests.support.network.servers import free_port

pytestmark = [pytest.mark.root]

LAYER_TAR = tar_of([("file", {}, b"content" * 1000)])
PASSWORD = "correct-horse-battery"


@pytest.fixture
def server() -> Iterator[Registry]:
    with serving() as found:
        yield found


def pull(who: Person, server: Registry) -> Ended:
    return who.run("pull", f"{server.host}/app")


def log_in(who: Person, server: Registry, user: str = "me", password: str = PASSWORD) -> Ended:
    return who.run("login", "-u", user, "-p", password, server.host)


def manifest_of(server: Registry) -> str:
    return f"http://{server.host}/v2/app/manifests/latest"


def test_nobody_listens(root: Person) -> None:
    host = f"127.0.0.1:{free_port()}"
    ended = root.run("pull", f"{host}/app")

    assert (ended.status, ended.complaint()) == (
        69,
        (
            f"ERROR: can't reach the registry at {host}: [Errno 111] Connection refused\n"
            "hint: check the name, the network and the proxy settings\n"
        ),
    )


def test_a_name_that_does_not_resolve(root: Person) -> None:
    ended = root.run("pull", "registry.invalid/app")

    assert ended.status == 69
    assert ended.complaint().startswith(
        "ERROR: can't reach the registry at registry.invalid: [Errno -"
    )
    assert ended.complaint().endswith(
        "\nhint: check the name, the network and the proxy settings\n"
    )


def test_who_takes_calls_but_never_answers(root: Person) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        host = f"127.0.0.1:{deaf.getsockname()[1]}"
        root.environ["POLYARCH_REGISTRY_TIMEOUT"] = "1"
        ended = root.run("pull", f"{host}/app")

    assert ended.status == 69
    assert ended.complaint() == (
        f"ERROR: can't reach the registry at {host}: timed out\n"
        "hint: check the name, the network and the proxy settings\n"
    )


@pytest.mark.parametrize("token", ["", "s3same"], ids=["basic", "token"])
def test_a_wrong_password(root: Person, server: Registry, token: str) -> None:
    plant_image(server, "app", LAYER_TAR)
    server.users, server.token = {"me": PASSWORD}, token
    wrong = "hunter2-hunter2"
    root.write(
        "../.docker/config.json",
        f'{{"auths": {{"{server.host}": {{"username": "me", "password": "{wrong}"}}}}}}',
    )

    for words in ((), ("--debug",)):
        ended = root.run("pull", *words, f"{server.host}/app", seconds=30)
        assert ended.status == 77
        assert f"polyarch login {server.host}\n" in ended.err
        assert wrong not in ended.err + ended.out
    refused = log_in(root, server, password=wrong)
    assert refused.status == 77
    assert "hint: " in refused.err
    assert wrong not in refused.err + refused.out


@pytest.mark.parametrize("token", ["", "s3same"], ids=["basic", "token"])
def test_login_opens_and_logout_closes(root: Person, server: Registry, token: str) -> None:
    plant_image(server, "app", LAYER_TAR)
    server.users, server.token = {"me": PASSWORD}, token

    assert pull(root, server).status == 77
    assert log_in(root, server).check().out == "Login Succeeded\n"
    pull(root, server).check()
    out = root.run("logout", server.host).check().out
    assert out == f"Removing login credentials for {server.host}\n"
    assert pull(root, server).status == 77
    assert PASSWORD not in (root.home / ".docker/config.json").read_text()


def test_a_login_at_a_registry_that_fails(root: Person, server: Registry) -> None:
    server.users, server.retry_after = {"me": PASSWORD}, "0"
    server.failures = {"GET /v2/": [503, 503]}
    log_in(root, server).check()
    server.failures = {"GET /v2/": [503] * 9}

    ended = log_in(root, server)

    assert ended.status == 76
    assert f"can't log in at {server.host}: GET http://{server.host}/v2/ says 503" in ended.err
    assert len(server.failures["GET /v2/"]) == 4


def test_nobody_may(root: Person, server: Registry) -> None:
    server.failures = {"HEAD /v2/app/manifests/latest": [403] * 9}
    server.failures["GET /v2/app/manifests/latest"] = [403] * 9
    ended = pull(root, server)

    assert (ended.status, ended.complaint()) == (
        77,
        (
            "ERROR: pull access denied, repository does not exist or may require authorization: "
            f"can't get the manifest of {server.host}/app: GET {manifest_of(server)} says 403: "
            "UNKNOWN: as asked\n"
            f"hint: log in with a user who may do that: polyarch login {server.host}\n"
        ),
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(root: Person, server: Registry, status: int) -> None:
    blob = plant_image(server, "app", LAYER_TAR)
    server.retry_after = "0"
    server.failures = {
        "HEAD /v2/app/manifests/latest": [status],
        f"GET /v2/app/blobs/{blob}": [status],
    }

    pull(root, server).check()

    assert server.requests.count("HEAD /v2/app/manifests/latest") == 2
    assert server.requests.count(f"GET /v2/app/blobs/{blob}") == 2


def test_too_many_requests_for_good(root: Person, server: Registry) -> None:
    server.retry_after = "0"
    server.failures = {f"{verb} /v2/app/manifests/latest": [429] * 99 for verb in ("HEAD", "GET")}
    ended = pull(root, server)

    assert (ended.status, ended.complaint()) == (
        76,
        (
            f"ERROR: can't get the manifest of {server.host}/app: GET {manifest_of(server)} says 429: "
            "UNKNOWN: as asked\nhint: the registry limits how often it is asked: log in, or wait\n"
        ),
    )


def test_a_blob_that_breaks_off_is_taken_up_again(root: Person, server: Registry) -> None:
    plant_image(server, "app", LAYER_TAR)
    server.cuts = [10, 20]

    pull(root, server).check()

    assert server.cuts == []


def test_a_blob_with_other_bytes(root: Person, server: Registry) -> None:
    blob = plant_image(server, "app", LAYER_TAR)
    true = server.blobs["app", blob]
    lie = bytes(len(true))
    server.blobs["app", blob] = lie
    ended = pull(root, server)

    assert (ended.status, ended.complaint()) == (
        1,
        (
            f"ERROR: the bytes of {blob} have the digest {digest_of(lie)}\n"
            "hint: the source is damaged; fetch or build it again\n"
        ),
    )
    server.blobs["app", blob] = true
    pull(root, server).check()


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (b"short", "has 5 bytes instead of {size}"),
        (bytes(5 << 20), "has more than the {size} bytes that were promised"),
    ],
)
def test_a_blob_of_another_size(root: Person, server: Registry, lie: bytes, said: str) -> None:
    blob = plant_image(server, "app", LAYER_TAR)
    size = len(server.blobs["app", blob])
    server.blobs["app", blob] = lie
    ended = pull(root, server)

    assert (ended.status, ended.complaint()) == (
        1,
        (
            f"ERROR: {blob} {said.format(size=size)}\n"
            "hint: the transfer was cut short or the source is damaged; try again\n"
        ),
    )


def test_a_manifest_with_other_bytes(root: Person, server: Registry) -> None:
    plant_image(server, "app", LAYER_TAR)
    true = digest_of(server.manifests["app", "latest"][1])
    lie = server.manifests["app", "latest"][1] + b" "
    server.manifests["app", true] = (MANIFEST, lie)
    ended = root.run("pull", f"{server.host}/app@{true}")

    where = f"http://{server.host}/v2/app/manifests/{true}"
    assert (ended.status, ended.complaint()) == (
        1,
        (
            f"ERROR: {where} gives the manifest {digest_of(lie)}\n"
            "hint: the registry, or something in front of it, is damaged\n"
        ),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            b"<html>busy</html>",
            "the document is no JSON: Expecting value: line 1 column 1 (char 0)",
        ),
        (b"[]", "the document is a list instead of an object"),
        (b'{"schemaVersion": 1}', "config is missing"),
    ],
)
def test_a_manifest_that_is_none(root: Person, server: Registry, text: bytes, said: str) -> None:
    server.manifests["app", "latest"] = server.manifests["app", digest_of(text)] = (MANIFEST, text)
    ended = pull(root, server)

    assert ended.status == 1
    assert ended.complaint() == (
        f"ERROR: the manifest {digest_of(text)} can't be read: {said}\n"
        "hint: the image is damaged, or something else answers for the registry\n"
    )


def test_a_manifest_of_nonsense_sizes(root: Person, server: Registry) -> None:
    def spoil(manifest: dict[str, object], _config: object) -> None:
        layers = manifest["layers"]
        assert isinstance(layers, list)
        layers[0]["size"] = -1

    plant_image(server, "app", LAYER_TAR, spoil)
    ended = pull(root, server)

    assert ended.status == 1
    assert "can't be read: layers[0].size is -1 instead of a size\n" in ended.complaint()


def test_a_layer_that_is_not_what_the_config_says(root: Person, server: Registry) -> None:
    wrong = "sha256:" + "0" * 64

    def spoil(_manifest: object, config: dict[str, object]) -> None:
        config["rootfs"] = {"type": "layers", "diff_ids": [wrong]}

    blob = plant_image(server, "app", LAYER_TAR, spoil)
    root.write("Dockerfile", f"FROM {server.host}/app\nCOPY Dockerfile /\n")
    ended = root.run("build", "-o", "out", ".")

    assert ended.status == 1
    assert ended.complaint().endswith(
        f"the layer {blob} unpacks to {digest_of(LAYER_TAR)}, but its image says {wrong}\n"
        "hint: the image is damaged; pull it again or use another one\n"
    )
