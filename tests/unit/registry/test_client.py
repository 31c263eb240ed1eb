from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from polyarch.digest import Digest, sha256
from polyarch.errors import Cancelled, IntegrityError, NotFound, RegistryError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER, OCI_MANIFEST
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.settings.containerd import ContainerdHosts
from polyarch.registry.settings.containers import read_containers
from polyarch.registry.transport import Transport
from tests.support.network.registry import Registry, digest_of, opened, serving
from tests.support.network.spies import mirrored, redirect
from tests.support.network.web import Page, web_server

DATA = b"0123456789" * 100


def client_for(
    environ: dict[str, str] | None = None,
    hosts: Hosts | None = None,
    pauses: list[float] | None = None,
) -> Client:
    noted = [] if pauses is None else pauses
    transport = opened(
        Transport(
            hosts or Hosts(),
            Credentials(environ or {"DOCKER_CONFIG": "/nonexistent"}),
            environ=environ or {},
        )
    )
    return Client(transport, CancelToken(), pause=lambda seconds, _: noted.append(seconds))


def named(server: Registry, name: str = "app:1") -> Reference:
    return parse_reference(f"{server.host}/{name}")


def blob(data: bytes = DATA) -> Descriptor:
    return Descriptor(media_type=OCI_LAYER, digest=sha256(data), size=len(data))


def whole() -> Generator[bytes, None, None]:
    yield DATA[:7]
    yield DATA[7:]


def test_manifest_goes_in_and_comes_out(server: Registry) -> None:
    client, reference = client_for(), named(server)

    digest = client.put_manifest(reference.repository, "1", b"{}", OCI_MANIFEST)

    assert digest == sha256(b"{}")
    assert client.head_manifest(reference) == Descriptor(
        media_type=OCI_MANIFEST, digest=digest, size=2
    )
    assert client.get_manifest(reference, "1") == (b"{}", OCI_MANIFEST, digest)
    assert client.has_manifest(reference.repository, digest)


def test_documents_that_were_coded_on_the_way() -> None:
    digest = sha256(b"{}")
    headers = {"Content-Type": OCI_MANIFEST, "Content-Encoding": "gzip"}
    with web_server() as web:
        web.pages["/v2/app/manifests/1"] = Page(gzip.compress(b"{}"), headers)
        web.pages[f"/v2/app/blobs/{digest}"] = Page(gzip.compress(b"{}"), headers)
        client, reference = client_for(), parse_reference(f"{web.host}/app:1")

        assert client.get_manifest(reference, "1") == (b"{}", OCI_MANIFEST, digest)
        assert b"".join(client.read_blob(reference.repository, blob(b"{}"))) == b"{}"
        client._transport.close()


def test_manifest_that_is_not_there(server: Registry) -> None:
    assert client_for().head_manifest(named(server)) is None
    with pytest.raises(NotFound, match="MANIFEST_UNKNOWN: no such"):
        client_for().get_manifest(named(server), "1")


def test_manifest_of_other_bytes_is_refused(server: Registry) -> None:
    digest = sha256(b"[]")
    server.manifests["app", digest] = (OCI_MANIFEST, b"{}")

    with pytest.raises(IntegrityError, match="gives bytes with the digest"):
        client_for().get_manifest(named(server), digest)


def test_head_without_a_body_of_errors_falls_back_to_get(server: Registry) -> None:
    server.manifests["app", "1"] = (OCI_MANIFEST, b"{}")
    server.failures["HEAD /v2/app/manifests/1"] = [405]

    found = client_for().head_manifest(named(server))

    assert found == Descriptor(media_type=OCI_MANIFEST, digest=sha256(b"{}"), size=2)


def test_blob_is_uploaded_in_one_piece(server: Registry) -> None:
    client, repository = client_for(), named(server).repository

    client.upload_blob(repository, sha256(DATA), len(DATA), whole)

    assert server.blobs == {("app", digest_of(DATA)): DATA}
    assert client.has_blob(repository, sha256(DATA))
    assert [line.split("?")[0] for line in server.requests] == [
        "POST /v2/app/blobs/uploads/",
        "PUT /v2/app/blobs/uploads/session",
        f"HEAD /v2/app/blobs/{digest_of(DATA)}",
    ]


def test_upload_begins_anew_after_an_error_of_the_server(server: Registry) -> None:
    pauses: list[float] = []
    server.failures["POST /v2/app/blobs/uploads/"] = [502]

    client_for(pauses=pauses).upload_blob(named(server).repository, sha256(DATA), len(DATA), whole)

    assert server.blobs == {("app", digest_of(DATA)): DATA}
    assert pauses == [0.5]


def test_broken_blob_is_taken_up_where_it_broke(server: Registry) -> None:
    server.blobs["app", digest_of(DATA)] = DATA
    server.cuts = [300, 300]

    chunks = client_for().read_blob(named(server).repository, blob())

    assert b"".join(chunks) == DATA
    assert len(server.requests) == 3


def test_blob_is_mounted_or_the_upload_given_up(server: Registry) -> None:
    server.blobs["base", digest_of(DATA)] = DATA
    client, repository = client_for(), named(server).repository

    mounted = client.mount_blob(repository, sha256(DATA), f"{server.host}/base")
    missing = client.mount_blob(repository, sha256(b""), f"{server.host}/base")

    assert (mounted, missing) == (True, False)
    assert server.requests[-1].startswith("DELETE /v2/app/blobs/uploads/session")


def test_token_is_fetched_once_for_each_scope(server: Registry) -> None:
    server.token = "t0"
    server.manifests["app", "1"] = (OCI_MANIFEST, b"{}")
    auths = f'{{"auths": {{"{server.host}": {{"auth": "dXNlcjpwYXNz"}}}}}}'
    client = client_for({"DOCKER_AUTH_CONFIG": auths})

    client.get_manifest(named(server), "1")
    client.get_manifest(named(server), "1")

    assert server.forms == [
        {
            "service": ["tests"],
            "client_id": ["polyarch"],
            "scope": ["repository:app:pull"],
            "grant_type": ["password"],
            "username": ["user"],
            "password": ["pass"],
        }
    ]


def test_refusal_says_who_to_log_in_as(server: Registry) -> None:
    server.failures["PUT /v2/app/manifests/1"] = [403]

    with pytest.raises(RegistryError, match=r"push access denied.*UNKNOWN: as asked") as caught:
        client_for().put_manifest(named(server).repository, "1", b"{}", OCI_MANIFEST)

    assert caught.value.hint.endswith(f": polyarch login {server.host}")
    assert (caught.value.status, caught.value.codes) == (403, ("UNKNOWN",))


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("application/json", '{"errors": [{"code": "DENIED", "message": "no"}]}', ": DENIED: no"),
        ("application/json", '{"errors": [{"status": 409, "message": "quota"}]}', ": quota"),
        ("application/json", '{"message": "403 Forbidden"}', ": 403 Forbidden"),
        ("application/json", '{"error": {"a": 1}, "detail": "why"}', ": why"),
        ("application/json", '["what"]', ""),
        ("application/json", "{", ""),
        ("text/plain; charset=utf-8", "\nblocked by policy\nmore", ": blocked by policy"),
        ("text/plain", "x" * 999, ": " + "x" * 200),
        ("text/plain", "", ""),
        ("text/html", "<html>", ""),
    ],
)
def test_what_refusals_say(kind: str, text: str, said: str) -> None:
    with web_server() as web:
        web.pages["/v2/app/manifests/1"] = Page(text.encode(), {"Content-Type": kind}, 409)
        client = client_for()
        with pytest.raises(RegistryError) as caught:
            client.get_manifest(parse_reference(f"{web.host}/app:1"), "1")
        client._transport.close()

    assert str(caught.value).endswith(f"says 409{said}")


def test_passing_errors_are_tried_again(server: Registry) -> None:
    pauses: list[float] = []
    server.manifests["app", "1"] = (OCI_MANIFEST, b"{}")
    server.failures["GET /v2/app/manifests/1"] = [503, 429]

    data, _, _ = client_for(pauses=pauses).get_manifest(named(server), "1")

    assert data == b"{}"
    assert pauses == [0.5, 1.0]


def test_nobody_answers() -> None:
    with serving() as gone:
        reference = named(gone)

    with pytest.raises(RegistryError, match=f"can't reach the registry at {reference.domain}"):
        client_for().head_manifest(reference)


def test_mirror_is_asked_first_and_told_whose_image(server: Registry) -> None:
    server.manifests["proxy/library/app", "1"] = (OCI_MANIFEST, b"{}")
    client = client_for(hosts=mirrored("docker.io", f"{server.host}/proxy"))

    client.get_manifest(parse_reference("app:1"), "1")

    assert server.requests == ["GET /v2/proxy/library/app/manifests/1?ns=docker.io"]


def test_a_part_of_a_registry_lies_elsewhere(server: Registry, tmp_path: Path) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(f'[[registry]]\nprefix = "r.example/foo"\nlocation = "{server.host}/bar"\n')
    server.token = "t0"
    server.manifests["bar/app", "1"] = (OCI_MANIFEST, b"{}")
    server.blobs["bar/app", digest_of(DATA)] = DATA
    auths = {server.host: {"username": "all", "password": "x"}}
    auths[f"{server.host}/bar"] = {"username": "of-bar", "password": "x"}
    client = client_for(
        {"DOCKER_AUTH_CONFIG": json.dumps({"auths": auths})}, Hosts((read_containers(path),))
    )

    client.get_manifest(parse_reference("r.example/foo/app:1"), "1")
    list(client.read_blob("r.example/foo/app", blob()))

    [form] = server.forms
    assert (form["username"], form["scope"]) == (["of-bar"], ["repository:bar/app:pull"])


def test_headers_of_the_user_stay_with_their_machine(tmp_path: Path) -> None:
    digest = sha256(DATA)
    with web_server() as own, web_server() as other:
        directory = tmp_path / "r.example"
        directory.mkdir()
        (directory / "hosts.toml").write_text(
            f'server = "{own.address}"\nheader = {{ x-key = "hidden" }}\n'
        )
        hosts = Hosts((ContainerdHosts(directories=(tmp_path,)),))
        own.pages[f"/v2/app/blobs/{digest}?ns=r.example"] = redirect(f"{other.address}/blob")
        other.pages["/blob"] = Page(DATA)
        client = client_for(hosts=hosts)

        assert b"".join(client.read_blob("r.example/app", blob())) == DATA

        assert [asked.headers.get("x-key") for asked in own.asked] == ["hidden"]
        assert [asked.headers.get("x-key") for asked in other.asked] == [None]
        client._transport.close()


@pytest.mark.parametrize("status", [0, 403, 503])
def test_mirrors_that_failed_are_named(server: Registry, status: int) -> None:
    with serving() as gone:
        name, mirror = gone.host, server.host
    if status:
        server.failures["GET /v2/app/manifests/1?ns=" + name.replace(":", "%3A")] = [status] * 9
    else:
        with serving() as another:
            mirror = another.host
    hosts = mirrored(name, mirror)

    with pytest.raises(RegistryError, match=f"can't reach the registry at {name}: ") as caught:
        client_for(hosts=hosts).get_manifest(parse_reference(f"{name}/app:1"), "1")

    failed = f"failed before: can't reach the registry at {mirror}: "
    assert f"; its mirror {mirror} {f'said {status} before' if status else failed}" in str(
        caught.value
    )


def test_a_silent_mirror_is_waited_for_once(server: Registry) -> None:
    server.manifests["app", "1"] = (OCI_MANIFEST, b"{}")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        mirror = f"127.0.0.1:{deaf.getsockname()[1]}"
        hosts = mirrored(server.host, mirror)
        client = client_for({"POLYARCH_REGISTRY_TIMEOUT": "0.2"}, hosts)

        for _ in range(3):
            client.get_manifest(named(server), "1")

        deaf.setblocking(False)
        deaf.accept()[0].close()
        with pytest.raises(BlockingIOError):
            deaf.accept()


def test_a_mirror_is_all_there_is_where_the_registry_is_out_of_reach(server: Registry) -> None:
    with serving() as gone:
        name = gone.host
    server.manifests["app", "1"] = (OCI_MANIFEST, b"{}")
    server.failures["GET /v2/app/manifests/1?ns=" + name.replace(":", "%3A")] = [503, 503]
    client = client_for(hosts=mirrored(name, server.host))

    assert client.get_manifest(parse_reference(f"{name}/app:1"), "1")[0] == b"{}"
    client._transport._away[server.host] = time.monotonic() + 60
    assert client.get_manifest(parse_reference(f"{name}/app:1"), "1")[0] == b"{}"


def test_what_no_mirror_has_either_is_told_once(server: Registry) -> None:
    with serving() as mirror:
        hosts = mirrored(server.host, mirror.host)

        with pytest.raises(
            NotFound, match=f": not found; its mirror {mirror.host} said 404 before"
        ):
            client_for(hosts=hosts).get_manifest(named(server), "1")


def test_cancelled_work_asks_nobody(server: Registry) -> None:
    cancel = CancelToken()
    cancel.cancel()
    transport = Transport(Hosts(), Credentials({}))

    with pytest.raises(Cancelled):
        Client(transport, cancel).has_blob(named(server).repository, Digest(digest_of(b"")))

    assert server.requests == []
