"""Pushes to a real registry, and pulls from it, through a proxy that does wrong: all of it ends right."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import IntegrityError, RegistryError
from polyarch.images.layout import Layout
from polyarch.images.registry_place import RegistryPlace
from polyarch.images.transfer import Wanted, copy
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.transport import Transport
from tests.support.images.blobs import begin_layout, put_blob
from tests.support.network.faults import Fault, FaultProxy, fault_proxy
from tests.support.network.servers import RealRegistry, real_registry
from tests.support.network.web import Page, web_server

PIECE = 64 << 10
LAYERS = 3
SIZE = 6 * PIECE - 17
UPLOAD = r"^PUT .*/uploads/"
PIECES = r"^PATCH "
BLOB = r"^GET .*/blobs/sha256"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Descriptor]:
    """An image of a few layers of noise in a layout."""
    directory = tmp_path_factory.mktemp("image")
    noise = random.Random(11)
    layers = [put_blob(directory, OCI_LAYER, noise.randbytes(SIZE)) for _ in range(LAYERS)]
    config = put_blob(directory, OCI_CONFIG, b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        # One of them twice: equal blobs travel once.
        "layers": [each.to_json() for each in (*layers, layers[0])],
    }
    root = put_blob(directory, OCI_MANIFEST, json.dumps(document).encode())
    begin_layout(directory)
    return Layout(directory), root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def proxy(server: RealRegistry) -> Iterator[FaultProxy]:
    with fault_proxy(server.host) as found:
        yield found


@contextmanager
def repository(
    host: str,
    name: str,
    waits: list[float] | None = None,
    credentials: Credentials | None = None,
    timeout: float = 120,
) -> Iterator[RegistryPlace]:
    """A repository; nothing is waited for, but for how long is noted."""
    noted = [] if waits is None else waits
    nobody = Credentials({"DOCKER_CONFIG": "/nonexistent"})
    environ = {"POLYARCH_REGISTRY_TIMEOUT": str(timeout)}
    with Transport(Hosts(), credentials or nobody, environ=environ) as transport:
        client = Client(
            transport,
            CancelToken(),
            pause=lambda seconds, _: noted.append(seconds),
            piece=PIECE,
        )
        yield RegistryPlace(reference=parse_reference(f"{host}/{name}"), client=client)


def push(
    proxy: FaultProxy, name: str, image: tuple[Layout, Descriptor], *, timeout: float = 120
) -> list[float]:
    """Push the image; return what was waited for."""
    waits: list[float] = []
    layout, root = image
    with repository(proxy.host, name, waits, timeout=timeout) as target:
        copy(root, layout, target, Wanted(tags=["1"]))
    return waits


def pull(proxy: FaultProxy, name: str, directory: Path) -> Descriptor:
    """Pull the image; the layout checks every byte of it. Return what the tag stands for."""
    with repository(proxy.host, name) as source:
        root, _ = source.load("1")
        copy(root, source, Layout(directory), Wanted(tags=["1"]))
    return root


def layer_of(image: tuple[Layout, Descriptor]) -> str:
    """Return the second layer's digest, without its algorithm."""
    layers = json.loads(image[0].manifest(image[1]))["layers"]
    return str(layers[1]["digest"]).partition(":")[2]


def uploads(proxy: FaultProxy, method: str) -> int:
    return sum(
        1 for line in proxy.requests if line.startswith(f"{method} ") and "/uploads/" in line
    )


def test_connections_reset_at_twenty_places(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], tmp_path: Path
) -> None:
    places = random.Random(20)
    for number in range(10):
        name = f"resets/{number}"
        upload = f"{UPLOAD}.*{layer_of(image)}"
        proxy.faults = [Fault(on=upload, sent=places.randrange(SIZE))]
        push(proxy, name, image)
        blob = f"{BLOB}:{layer_of(image)}"
        proxy.faults += [Fault(on=blob, got=places.randrange(SIZE))]
        assert pull(proxy, name, tmp_path / str(number)) == image[1]
        assert not proxy.faults


def test_an_upload_goes_on_where_it_broke(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], tmp_path: Path
) -> None:
    # A proxy that takes requests whole, as those of large sites do: the registry sees none that broke.
    broken = [Fault(on=PIECES, sent=1000 * each, holds=True) for each in range(4)]
    passing = [Fault(on=PIECES)] * 4
    alternately = [each for pair in zip(passing, broken, strict=True) for each in pair]
    first = Fault(on=f"{UPLOAD}.*{layer_of(image)}", sent=PIECE)
    proxy.faults = [first, Fault(on=PIECES), Fault(on=PIECES, status=503), *alternately]

    push(proxy, "goes/on", image)

    assert not proxy.faults
    # Of the layer that broke, each piece has arrived once, beside those that broke or were refused.
    assert uploads(proxy, "PATCH") == 6 + 1 + 4
    assert uploads(proxy, "POST") == 1 + LAYERS + 1
    assert pull(proxy, "goes/on", tmp_path) == image[1]


def test_a_connection_that_fell_silent_is_left_for_another(proxy: FaultProxy) -> None:
    with repository(proxy.host, "kept", timeout=4) as target:
        assert target.client.has_blob(target.reference.repository, sha256(b"one")) is False
        proxy.faults = [Fault(on="^HEAD .*/blobs/", mute=True)]
        assert target.client.has_blob(target.reference.repository, sha256(b"two")) is False

    assert not proxy.faults


def test_a_registry_that_falls_silent_in_an_upload_is_asked_once_more(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], tmp_path: Path
) -> None:
    proxy.faults = [Fault(on=f"{UPLOAD}.*{layer_of(image)}", mute=True)]

    push(proxy, "silent", image, timeout=4)

    assert not proxy.faults
    assert pull(proxy, "silent", tmp_path) == image[1]


def test_a_silent_registry_may_speak_later(
    proxy: FaultProxy, image: tuple[Layout, Descriptor]
) -> None:
    proxy.faults = [Fault(on="^HEAD .*/manifests/", mute=True)] * 3

    with pytest.raises(RegistryError, match="timed out") as caught:
        push(proxy, "mute", image, timeout=1)

    assert (caught.value.temporary, caught.value.retryable) == (False, True)


@pytest.mark.parametrize(
    "on", ["^POST .*/uploads/", UPLOAD, "^PUT .*/manifests/1", "^HEAD .*/blobs/"]
)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry_is_left_alone_and_asked_again(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], on: str, status: int
) -> None:
    name = f"busy/{status}-{on[1:4].lower()}-{'m' if 'manifests' in on else 'b'}"
    proxy.faults = [Fault(on=on, status=status, headers={"Retry-After": "17"})] * 3

    waits = push(proxy, name, image)

    assert waits == [17.0] * 3
    assert not proxy.faults


def test_a_registry_that_never_recovers_is_an_error_that_may_pass(
    proxy: FaultProxy, image: tuple[Layout, Descriptor]
) -> None:
    proxy.faults = [Fault(on="^POST .*/uploads/", status=503)] * 20

    with pytest.raises(RegistryError, match="says 503") as caught:
        push(proxy, "never", image)

    assert caught.value.temporary
    assert "PUT /v2/never/manifests/1" not in proxy.requests
    proxy.faults = []
    push(proxy, "never", image)
    assert "PUT /v2/never/manifests/1" in proxy.requests


def test_equal_blobs_travel_once_and_a_push_goes_on_after_another(
    proxy: FaultProxy, image: tuple[Layout, Descriptor]
) -> None:
    proxy.faults = [Fault(on="^PUT .*/manifests/", status=403)]
    with pytest.raises(RegistryError, match="says 403"):
        push(proxy, "twice", image)
    first = uploads(proxy, "PUT")

    push(proxy, "twice", image)

    assert first == LAYERS + 1
    assert uploads(proxy, "PUT") == first


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_wrong_bytes_are_told_and_nothing_is_kept(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], tmp_path: Path, kind: str
) -> None:
    push(proxy, "wrong", image)
    wrong = layer_of(image) if kind == "blobs" else image[1].digest
    proxy.faults = [Fault(on=f"^GET .*/{kind}/.*{wrong}", spoil=9)]

    with pytest.raises(IntegrityError, match="digest"):
        pull(proxy, "wrong", tmp_path)

    assert not (tmp_path / "index.json").exists()
    assert pull(proxy, "wrong", tmp_path) == image[1]


def test_a_damaged_answer_to_a_tag_is_told(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], tmp_path: Path
) -> None:
    push(proxy, "damaged", image)
    proxy.faults = [Fault(on="^GET .*/manifests/1", spoil=200)]

    with pytest.raises(IntegrityError, match="gives bytes with the digest"):
        pull(proxy, "damaged", tmp_path)


def test_a_token_that_expires_in_the_middle_of_an_upload(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], tmp_path: Path
) -> None:
    with web_server() as authority:
        authority.pages["/token"] = Page(b'{"token": "letter"}')
        challenge = {"WWW-Authenticate": f'Bearer realm="{authority.address}/token"'}
        first = Fault(on=f"{UPLOAD}.*{layer_of(image)}", status=401, headers=challenge)
        broken = Fault(on=f"{UPLOAD}.*{layer_of(image)}", sent=PIECE)
        piece = Fault(on=PIECES, status=401, headers=challenge)
        proxy.faults = [first, broken, Fault(on=PIECES), piece]
        push(proxy, "expired", image)

    assert not proxy.faults
    assert proxy.authorizations[-1] == "Bearer letter"
    assert len(authority.asked) == 2
    assert pull(proxy, "expired", tmp_path) == image[1]


def test_a_redirect_to_another_host_gets_no_credentials(
    proxy: FaultProxy, image: tuple[Layout, Descriptor], tmp_path: Path
) -> None:
    layout, root = image
    push(proxy, "elsewhere", image)
    blob = json.loads(layout.manifest(root))["layers"][1]["digest"]
    data = (layout._path(blob)).read_bytes()
    auth = base64.b64encode(b"me:pass-word").decode()
    text = json.dumps({"auths": {proxy.host: {"auth": auth}}})
    with web_server() as storage:
        storage.pages["/store/layer"] = Page(data)
        location = f"http://localhost:{storage.host.rpartition(':')[2]}/store/layer"
        proxy.faults = [
            Fault(on="^GET ", status=401, headers={"WWW-Authenticate": 'Basic realm="r"'}),
            Fault(on=f"^GET .*{blob}", status=307, headers={"Location": location}),
        ]
        me = Credentials({"DOCKER_AUTH_CONFIG": text})
        with repository(proxy.host, "elsewhere", credentials=me) as source:
            copy(source.load("1")[0], source, Layout(tmp_path), Wanted(tags=["1"]))

    assert f"Basic {auth}" in proxy.authorizations
    assert [asked.authorization for asked in storage.asked] == [""]


def test_an_index_that_nests_itself(proxy: FaultProxy, tmp_path: Path) -> None:
    # By its digest it can't; so a registry that lies has it under any digest, and the bytes give that away.
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    with web_server() as web, repository(web.host, "nest") as source:
        root = Descriptor(media_type=OCI_INDEX, digest=sha256(b"nest"), size=400)
        index["manifests"] = [root.to_json()]
        told = {"Content-Type": OCI_INDEX}
        web.pages[f"/v2/nest/manifests/{root.digest}"] = Page(json.dumps(index).encode(), told)
        with pytest.raises(IntegrityError, match="digest"):
            copy(root, source, Layout(tmp_path))


def test_a_manifest_of_100_megabytes_is_not_taken_in(tmp_path: Path) -> None:
    told = {"Content-Type": OCI_MANIFEST}
    with web_server() as web, repository(web.host, "large") as source:
        web.pages["/v2/large/manifests/1"] = Page(b" " * 100_000_000, told)
        with pytest.raises(RegistryError, match="more than the 4194304 bytes allowed") as caught:
            source.load("1")

    assert not caught.value.temporary
