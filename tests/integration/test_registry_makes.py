"""Pushes to registries of other makes than Debian's, and pulls from them, by what each make does otherwise."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import RegistryError
from polyarch.images.early import EarlyPush
from polyarch.images.layout import Layout
from polyarch.images.registry_place import RegistryPlace
from polyarch.images.tally import Arrival
from polyarch.images.transfer import Wanted, copy
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.transport import Transport
from polyarch.store.store import Store
from tests.support.images.blobs import begin_layout, put_blob
from tests.support.network.quirks import Habits, QuirkyRegistry, quirky_registry
from tests.support.network.registry import opened
from tests.support.network.web import Page, web_server

PIECE = 64 << 10
SIZE = 6 * PIECE - 17
LARGE = random.Random(3).randbytes((8 << 20) + 99)

UPLOADS = {
    "whole": Habits(),
    "relative": Habits(location="{path}"),
    "without a scheme": Habits(location="//{host}{path}?_state={state}"),
    "no pieces": Habits(patch=405),
    "no length refused": Habits(no_length=411),
    "no length refused unread": Habits(no_length=411, reads_on=False),
    "no length unknown": Habits(no_length=501),
    "a piece without its place": Habits(bare_piece=416),
    "ranges that stand still": Habits(patch_range="0-0"),
    "ranges that lag behind": Habits(patch_range="0-99"),
    "ranges beyond the end": Habits(patch_range="0-999999999"),
    "pieces that are lost": Habits(keeps=0),
    "pieces that lose their end": Habits(keeps=1000),
    "forgotten uploads": Habits(lost_sessions=3),
    "a proxy that takes little": Habits(most=200 << 10),
    "a proxy that reads no more": Habits(most=200 << 10, reads_on=False),
    "no HEAD": Habits(head_blob=405),
    "HEAD forbidden": Habits(head_blob=403),
    "mounts refused": Habits(mount=405),
    "mounts unknown": Habits(mount=404),
    "tags that stay": Habits(overwrite=409),
    "no size": Habits(head_manifest=frozenset({"Content-Length"})),
    "no digest": Habits(head_manifest=frozenset({"Docker-Content-Digest"})),
    "no type": Habits(head_manifest=frozenset({"Content-Type"})),
    "nothing in HEAD": Habits(head_size="0"),
    "JSON": Habits(media_type="application/json"),
    "text": Habits(media_type="text/plain; charset=utf-8"),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Descriptor]:
    """An index of one image with two layers of noise, in a layout."""
    directory = tmp_path_factory.mktemp("image")
    noise = random.Random(11)
    layers = [put_blob(directory, OCI_LAYER, noise.randbytes(SIZE)) for _ in range(2)]
    config = put_blob(directory, OCI_CONFIG, b"{}")
    begin_layout(directory)
    told = {"config": config.to_json(), "layers": [each.to_json() for each in layers]}
    manifest = document(directory, OCI_MANIFEST, told)
    return Layout(directory), document(directory, OCI_INDEX, {"manifests": [manifest.to_json()]})


def document(directory: Path, media_type: str, fields: Mapping[str, object]) -> Descriptor:
    whole = {"schemaVersion": 2, "mediaType": media_type, **fields}
    return put_blob(directory, media_type, json.dumps(whole).encode())


def place(registry: QuirkyRegistry, name: str) -> RegistryPlace:
    """A repository; nothing is waited for."""
    transport = opened(Transport(Hosts(), Credentials({"DOCKER_CONFIG": "/nonexistent"})))
    client = Client(transport, CancelToken(), pause=lambda *_: None, piece=PIECE)
    return RegistryPlace(reference=parse_reference(f"{registry.host}/{name}:1"), client=client)


@pytest.mark.parametrize("breaks", [0, 1], ids=["", "breaks"])
@pytest.mark.parametrize("habit", UPLOADS)
def test_an_image_goes_there_and_comes_back(
    image: tuple[Layout, Descriptor], tmp_path: Path, habit: str, breaks: int
) -> None:
    layout, root = image
    with quirky_registry(dataclasses.replace(UPLOADS[habit], breaks=breaks)) as registry:
        for _ in range(2):
            copy(root, layout, place(registry, "team/app"), Wanted(tags=["1"]))
        # What another repository has is mounted, or sent again.
        other = place(registry, "team/other")
        copy(root, place(registry, "team/app"), other, Wanted(tags=["1"]))
        target = Layout(tmp_path)
        assert other.resolve() == other.load("1")[0] == root
        copy(root, other, target, Wanted(tags=["1"]))
    assert target.manifest(root) == layout.manifest(root)


@pytest.mark.parametrize("habit", UPLOADS)
def test_a_layer_that_is_sent_early_is_there_in_the_end(tmp_path: Path, habit: str) -> None:
    whole = Descriptor(media_type=OCI_LAYER, digest=sha256(LARGE), size=len(LARGE))
    (tmp_path / "layout").mkdir()
    put_blob(tmp_path / "layout", OCI_LAYER, LARGE)
    with (
        quirky_registry(UPLOADS[habit]) as registry,
        Store(tmp_path / "store", works=True) as store,
        EarlyPush(place(registry, "early/app")) as early,
    ):
        early.begin()
        with store.blobs.writer() as writer, early.followed(writer) as sink:
            for start in range(0, len(LARGE), 300_001):
                sink.write(LARGE[start : start + 300_001])
        arrivals: list[Arrival] = []
        target = dataclasses.replace(
            place(registry, "early/app"),
            early=early.arrival,
            on_blob=lambda _, arrival: arrivals.append(arrival),
        )
        target.take_blob(whole, Layout(tmp_path / "layout"), lambda _size: None)
        assert registry.blobs["early/app", whole.digest] == LARGE
        assert arrivals == [Arrival.UPLOADED]


def test_a_tag_that_cannot_be_changed_is_told(image: tuple[Layout, Descriptor]) -> None:
    layout, root = image
    with quirky_registry(Habits(overwrite=400)) as registry:
        target = place(registry, "team/app")
        other = document(layout.directory, OCI_INDEX, {"manifests": []})
        copy(other, layout, target, Wanted(tags=["1"]))
        with pytest.raises(RegistryError, match="says 400: TAG_INVALID") as caught:
            copy(root, layout, target, Wanted(tags=["1"]))
    assert caught.value.hint == (
        f"1 is {other.digest} already: if tags can't be changed there, push under another one"
    )


def test_a_registry_that_knows_no_index_is_told_of_dockers(
    image: tuple[Layout, Descriptor],
) -> None:
    with quirky_registry(Habits(index=400)) as registry:
        with pytest.raises(RegistryError, match="says 400: MANIFEST_INVALID") as caught:
            copy(image[1], image[0], place(registry, "team/app"), Wanted(tags=["1"]))
        assert "oci-mediatypes=false" in caught.value.hint
        assert ("team/app", "1") not in registry.manifests


@pytest.mark.parametrize(
    "habits",
    [Habits(), Habits(page=1), Habits(page=2), Habits(referrers=404), Habits(referrers=405)],
    ids=["all", "pages of one", "pages of two", "unknown", "refused"],
)
def test_all_that_is_about_an_image_is_found(
    image: tuple[Layout, Descriptor], tmp_path: Path, habits: Habits
) -> None:
    layout, root = image
    with quirky_registry(habits) as registry:
        target = place(registry, "team/app")
        copy(root, layout, target, Wanted(tags=["1"]))
        empty = put_blob(tmp_path, OCI_CONFIG, b"{}")
        told = set()
        for number in range(3):
            fields = {
                "artifactType": f"application/x-{number}",
                "config": empty.to_json(),
                "layers": [],
                "subject": root.to_json(),
            }
            about = document(tmp_path, OCI_MANIFEST, fields)
            data = (tmp_path / "blobs" / about.digest.replace(":", "/")).read_bytes()
            target.put_manifest(about, data, root.digest)
            told.add((about.digest, f"application/x-{number}"))
        found = {(each.digest, each.artifact_type) for each in target.referrers(root.digest)}
    assert found == told


def test_storage_elsewhere_is_read_and_gets_no_credentials(
    image: tuple[Layout, Descriptor], tmp_path: Path
) -> None:
    layout, root = image
    with quirky_registry(Habits()) as registry, web_server() as storage:
        copy(root, layout, place(registry, "team/app"), Wanted(tags=["1"]))
        for (_, digest), data in registry.blobs.items():
            # The first signature has expired on the way.
            storage.pages[f"/{digest}?X-Signature=open"] = Page(data, after=(403,))
        registry.habits = Habits(storage=storage.address)
        source = place(registry, "team/app")
        copy(root, source, Layout(tmp_path), Wanted(tags=["1"]))
    assert len(storage.asked) == 6
    assert all(asked.authorization == "" for asked in storage.asked)
