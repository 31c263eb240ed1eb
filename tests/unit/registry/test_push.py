from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from polyarch.digest import Digest, sha256
from polyarch.errors import RegistryError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.push import PushBlob, PushDocument, nearest, push
from polyarch.registry.transport import Transport
from registry import Registry, digest_of, opened, serving

STORED = {sha256(data): data for data in (b"config", b"layer")}
MANIFEST, INDEX = b'{"config": 0}', b'{"manifests": 0}'


@pytest.fixture
def server() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


def described(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=sha256(data), size=len(data))


class Store:
    """Gives blobs, and notes which had to be brought here first."""

    def __init__(self) -> None:
        self.ensured: list[Digest] = []

    def ensure(self, descriptor: Descriptor) -> None:
        self.ensured.append(descriptor.digest)

    def open(self, digest: Digest) -> BinaryIO:
        return io.BytesIO(STORED[digest])


def push_to(server: Registry, name: str, store: Store, sources: tuple[str, ...] = ()) -> None:
    transport = opened(
        Transport(Hosts({}, Path("/nonexistent")), Credentials({"DOCKER_CONFIG": "/nonexistent"}))
    )
    push(
        Client(transport, CancelToken(), pause=lambda *_: None),
        parse_reference(f"{server.host}/{name}"),
        PushDocument(descriptor=described(OCI_INDEX, INDEX), data=INDEX),
        [PushDocument(descriptor=described(OCI_MANIFEST, MANIFEST), data=MANIFEST)],
        [
            PushBlob(descriptor=described(OCI_LAYER, data), sources=sources)
            for data in STORED.values()
        ],
        open_blob=store.open,
        ensure_blob=store.ensure,
    )


def test_root_comes_last(server: Registry) -> None:
    push_to(server, "app:1", Store())

    assert server.blobs == {("app", digest): data for digest, data in STORED.items()}
    assert [line for line in server.requests if "PUT" in line and "manifests" in line] == [
        f"PUT /v2/app/manifests/{digest_of(MANIFEST)}",
        "PUT /v2/app/manifests/1",
    ]


def test_image_that_is_there_gets_only_its_tag(server: Registry) -> None:
    push_to(server, "app:1", Store())
    server.requests.clear()

    push_to(server, "app:2", Store())

    assert server.requests == [
        f"HEAD /v2/app/manifests/{digest_of(INDEX)}",
        "PUT /v2/app/manifests/2",
    ]


def test_blobs_are_mounted_without_being_fetched(server: Registry) -> None:
    server.blobs = {("base", digest): data for digest, data in STORED.items()}
    store = Store()

    push_to(server, "app:1", store, sources=("other.example/base", f"{server.host}/base"))

    assert store.ensured == []
    assert ("app", digest_of(b"layer")) in server.blobs


def test_nothing_gets_a_name_if_a_blob_fails(server: Registry) -> None:
    server.failures["POST /v2/app/blobs/uploads/"] = [403, 403]

    with pytest.raises(RegistryError, match="push access denied"):
        push_to(server, "app:1", Store())

    assert server.manifests == {}


def test_nearest_source_is_at_the_same_host_and_shares_the_path() -> None:
    sources = ("h/other/base", "h/team/base", "elsewhere/team/app2")

    assert nearest("h/team/app", sources) == "h/team/base"
    assert nearest("g/team/app", sources) == ""
