"""One budget of attempts for each operation, whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from polyarch.digest import sha256
from polyarch.errors import PolyarchError, RegistryError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER, OCI_MANIFEST
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.transport import Transport
from tests.support.network.registry import Registry, opened
from tests.support.network.spies import at_once
from tests.support.network.web import Page, web_server

DATA = b"0123456789" * (1 << 18)
BLOB = Descriptor(media_type=OCI_LAYER, digest=sha256(DATA), size=len(DATA))


def client() -> Client:
    transport = Transport(Hosts(), Credentials({"DOCKER_CONFIG": "/proc/nonexistent"}))
    return Client(opened(transport), CancelToken(), pause=at_once)


def whole() -> Generator[bytes, None, None]:
    yield DATA


OPERATIONS: dict[str, Callable[[Client, str], object]] = {
    "resolve": lambda it, host: it.head_manifest(parse_reference(f"{host}/app:1")),
    "get": lambda it, host: it.get_manifest(parse_reference(f"{host}/app:1"), "1"),
    "has blob": lambda it, host: it.has_blob(f"{host}/app", BLOB.digest),
    "has manifest": lambda it, host: it.has_manifest(f"{host}/app", BLOB.digest),
    "read": lambda it, host: list(it.read_blob(f"{host}/app", BLOB)),
    "upload": lambda it, host: it.upload_blob(f"{host}/app", BLOB.digest, len(DATA), whole),
    "log in": lambda it, host: it.log_in(host),
    "referrers": lambda it, host: it.referrers(f"{host}/app", BLOB.digest),
    "put": lambda it, host: it.put_manifest(f"{host}/app", "1", b"{}", OCI_MANIFEST),
}


class AlwaysFailing(dict[str, list[int]]):
    """Failures for every request."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def get(self, _line: object, _default: object = None) -> list[int]:
        return [self.status]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_server_that_fails_is_asked_five_times(server: Registry, name: str, status: int) -> None:
    server.failures = AlwaysFailing(status)

    with pytest.raises(RegistryError) as caught:
        OPERATIONS[name](client(), server.host)

    assert (caught.value.status, len(server.requests)) == (status, 5)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501, 505])
def test_what_will_not_pass_is_asked_once(server: Registry, status: int) -> None:
    server.failures = AlwaysFailing(status)

    with pytest.raises(PolyarchError):
        OPERATIONS["get"](client(), server.host)

    assert len(server.requests) == 1


def test_a_blob_that_never_gets_on(server: Registry) -> None:
    server.blobs["app", BLOB.digest] = DATA
    server.cuts = [10] * 99

    with pytest.raises(RegistryError, match="broke off"):
        OPERATIONS["read"](client(), server.host)

    assert len(server.requests) == 5


def test_a_blob_that_gets_on_may_break_more_often(server: Registry) -> None:
    server.blobs["app", BLOB.digest] = DATA
    server.cuts = [10] * 4 + [1 << 20] + [10] * 4 + [1 << 20]

    found = b"".join(client().read_blob(f"{server.host}/app", BLOB))

    assert found == DATA
    assert len(server.requests) == 11


def test_a_coded_blob_that_breaks_off_comes_from_its_start(server: Registry) -> None:
    server.blobs["app", BLOB.digest] = DATA
    server.coded = {BLOB.digest}
    server.cuts = [3000, 2000]

    found = b"".join(client().read_blob(f"{server.host}/app", BLOB))

    assert found == DATA
    assert len(server.requests) == 3


def test_an_upload_begins_anew(server: Registry) -> None:
    server.failures["PUT " + _put_path()] = [503, 503]

    client().upload_blob(f"{server.host}/app", BLOB.digest, len(DATA), whole)

    assert [line.split()[0] for line in server.requests] == ["POST", "PUT"] * 3


def test_an_upload_that_never_ends_begins_five_times(server: Registry) -> None:
    server.failures["PUT " + _put_path()] = [503] * 9

    with pytest.raises(RegistryError, match="says 503"):
        OPERATIONS["upload"](client(), server.host)

    assert [line.split()[0] for line in server.requests] == ["POST", "PUT"] * 5


def _put_path() -> str:
    digest = BLOB.digest.replace(":", "%3A")
    return f"/v2/app/blobs/uploads/session?state=x&digest={digest}"


def test_a_mount_that_fails_is_an_upload(server: Registry) -> None:
    server.failures = AlwaysFailing(500)

    assert not client().mount_blob(f"{server.host}/app", BLOB.digest, f"{server.host}/base")

    assert len(server.requests) == 5


def test_a_token_server_that_fails_is_asked_five_times() -> None:
    with web_server() as web, web_server() as tokens:
        challenge = f'Bearer realm="{tokens.address}/token",service="tests"'
        web.pages["/v2/app/manifests/1"] = Page(status=401, headers={"WWW-Authenticate": challenge})
        tokens.pages["/token"] = Page(status=503)

        with pytest.raises(RegistryError, match=r"failed to authorize at .*: status 503"):
            OPERATIONS["get"](client(), web.host)

        assert (len(tokens.asked), len(web.asked)) == (5, 5)


def test_a_token_server_that_stumbles() -> None:
    with web_server() as web:
        challenge = f'Bearer realm="{web.address}/token",service="tests"'
        web.pages["/v2/app/manifests/1"] = Page(status=401, headers={"WWW-Authenticate": challenge})
        web.pages["/token"] = Page(b'{"token": "t"}', after=(503, 429))

        with pytest.raises(RegistryError, match="says 401"):
            OPERATIONS["get"](client(), web.host)

        assert web.asked[-1].authorization == "Bearer t"
