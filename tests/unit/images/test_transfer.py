"""Copies between layouts and registries in this process: what is asked for, in which order, and what ends them."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import Cancelled, IntegrityError, NotFound, RegistryError
from polyarch.images.layout import Layout
from polyarch.images.place import BlobReader, Place
from polyarch.images.registry_place import nearest
from polyarch.images.transfer import Wanted, Watch, copy
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from polyarch.platforms import parse as parse_platform
from polyarch.progress import CancelToken
from tests.support.images.layouts import read_directory
from tests.support.network.registry import Registry, digest_of, registry_places, serving

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"


@pytest.fixture
def layout(tmp_path: Path) -> Planted:
    return Planted(tmp_path / "layout")


def at(server: Registry, repository: str) -> Place:
    return registry_places().at(f"{server.host}/{repository}")


class Planted:
    """A layout with images made by hand."""

    def __init__(self, directory: Path) -> None:
        self.place = Layout(directory)

    def blob(self, media_type: str, data: bytes) -> Descriptor:
        descriptor = Descriptor(media_type=media_type, digest=sha256(data), size=len(data))
        self.place.put_manifest(descriptor, data, None)
        return descriptor

    def document(self, media_type: str, **fields: object) -> Descriptor:
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}).encode()
        return self.blob(media_type, data)

    def image(self, platform: str, *layers: Descriptor) -> Descriptor:
        config = self.blob(OCI_CONFIG, json.dumps({"for": platform}).encode())
        manifest = self.document(
            OCI_MANIFEST, config=config.to_json(), layers=[each.to_json() for each in layers]
        )
        listed = {**manifest.to_json(), "platform": _platform(platform)}
        return Descriptor.from_json(listed)

    def index(self, *manifests: Descriptor) -> Descriptor:
        return self.document(OCI_INDEX, manifests=[each.to_json() for each in manifests])

    def two(self) -> Descriptor:
        """An image of two platforms that share a layer."""
        shared = self.blob(OCI_LAYER, b"shared")
        own = self.blob(OCI_LAYER, b"own")
        return self.index(self.image("linux/amd64", shared), self.image("linux/arm64", shared, own))


def _platform(text: str) -> dict[str, str]:
    system, _, architecture = text.partition("/")
    return {"os": system, "architecture": architecture}


def sent(server: Registry) -> list[str]:
    """The manifests that were put, and "blob" for each upload."""
    puts = [line for line in server.requests if line.startswith("PUT")]
    return ["blob" if "/uploads/" in line else line.rpartition("/")[2] for line in puts]


# What is brought, and in which order


def test_blobs_come_first_and_names_last(layout: Planted, server: Registry) -> None:
    root = layout.two()
    manifests = [each["digest"] for each in json.loads(layout.place.manifest(root))["manifests"]]

    blobs = copy(root, layout.place, at(server, "app"), Wanted(tags=("1", "2")))

    assert sent(server) == ["blob"] * 4 + [*manifests, "1", "2"]
    assert {("app", digest) for digest in blobs} == server.blobs.keys()


def test_without_a_tag_the_root_is_kept_by_its_digest(layout: Planted, server: Registry) -> None:
    root = layout.two()

    copy(root, layout.place, at(server, "app"))

    assert sent(server)[-1] == root.digest


def test_an_image_that_is_there_gets_only_its_name(layout: Planted, server: Registry) -> None:
    root = layout.two()
    copy(root, layout.place, at(server, "app"), Wanted(tags=("1",)))
    server.requests.clear()

    assert copy(root, layout.place, at(server, "app"), Wanted(tags=("2",))) == ()

    assert server.requests == [
        f"HEAD /v2/app/manifests/{root.digest}",
        "PUT /v2/app/manifests/2",
    ]


def test_an_image_is_the_same_after_a_way_around(
    layout: Planted, server: Registry, tmp_path: Path
) -> None:
    root = layout.two()
    layout.place.tag("x", root, layout.place.manifest(root))
    copy(root, layout.place, at(server, "app"))
    back = Layout(tmp_path / "back")

    copy(root, at(server, "app"), back, Wanted(tags=("x",)))

    assert read_directory(tmp_path / "back") == read_directory(layout.place.directory)


def test_some_platforms_are_copied_alone(layout: Planted, tmp_path: Path) -> None:
    root = layout.two()
    target = Layout(tmp_path / "target")

    blobs = copy(root, layout.place, target, Wanted(platforms=(parse_platform("linux/amd64"),)))

    kept = {path.name for path in (tmp_path / "target/blobs/sha256").iterdir()}
    amd64 = json.loads(layout.place.manifest(root))["manifests"][0]["digest"]
    assert kept == {digest.removeprefix("sha256:") for digest in (*blobs, amd64, root.digest)}
    assert len(blobs) == 2


def test_a_platform_that_an_image_lacks(layout: Planted, tmp_path: Path) -> None:
    wanted = Wanted(platforms=(parse_platform("linux/s390x"),), tags=("x",))

    with pytest.raises(NotFound):
        copy(layout.two(), layout.place, Layout(tmp_path / "target"), wanted)

    assert not (tmp_path / "target").exists()


def test_layers_that_may_not_be_handed_on_stay(layout: Planted, server: Registry) -> None:
    foreign = Descriptor(media_type=FOREIGN, digest=sha256(b"foreign"), size=7)
    root = layout.image("linux/amd64", foreign)

    (config,) = copy(root, layout.place, at(server, "app"))

    assert server.blobs.keys() == {("app", config)}


def test_nothing_is_copied_within_a_place(layout: Planted, server: Registry) -> None:
    root = layout.two()
    copy(root, layout.place, at(server, "app"))
    server.requests.clear()

    copy(root, at(server, "app"), at(server, "app"), Wanted(tags=("1",)))

    assert server.requests == [
        f"GET /v2/app/manifests/{root.digest}",
        "PUT /v2/app/manifests/1",
    ]


# Blobs


def test_blobs_are_mounted_at_the_same_registry(layout: Planted, server: Registry) -> None:
    root = layout.two()
    copy(root, layout.place, at(server, "team/base"))
    server.requests.clear()

    copy(root, at(server, "team/base"), at(server, "team/app"))

    asked = [line for line in server.requests if "/blobs/" in line]
    assert len(server.blobs) == 8
    assert all(line.startswith(("HEAD", "POST")) for line in asked)
    assert all("from=team%2Fbase" in line for line in asked if line.startswith("POST"))


def test_blobs_are_streamed_to_another_registry(layout: Planted, server: Registry) -> None:
    root = layout.two()
    copy(root, layout.place, at(server, "app"))
    with serving() as other:
        copy(root, at(server, "app"), at(other, "copy"))

        assert {digest for _, digest in other.blobs} == {digest for _, digest in server.blobs}


def test_blobs_are_brought_side_by_side(layout: Planted, server: Registry, tmp_path: Path) -> None:
    digests = [layout.blob(OCI_LAYER, text) for text in (b"1", b"2", b"3")]
    root = layout.image("linux/amd64", *digests)
    copy(root, layout.place, at(server, "app"))
    meeting = threading.Barrier(3)
    server.meetings = {each.digest: meeting for each in digests}

    copy(root, at(server, "app"), Layout(tmp_path / "target"))

    assert meeting.n_waiting == 0
    assert not meeting.broken


def test_nothing_gets_a_name_if_a_blob_fails(layout: Planted, server: Registry) -> None:
    server.failures["POST /v2/app/blobs/uploads/"] = [403] * 4

    with pytest.raises(RegistryError, match="push access denied"):
        copy(layout.two(), layout.place, at(server, "app"), Wanted(tags=("1",)))

    assert server.manifests == {}


class Endless(Layout):
    """A layout that gives one of its blobs for ever."""

    def __init__(self, directory: Path, endless: Descriptor) -> None:
        super().__init__(directory)
        self._endless = endless
        self.begun = threading.Event()

    def open_blob(self, blob: Descriptor) -> BlobReader:
        if blob.digest == self._endless.digest:
            return BlobReader(chunks=self._bytes)
        self.begun.wait()
        return super().open_blob(blob)

    def _bytes(self) -> Generator[bytes, None, None]:
        while True:
            self.begun.set()
            yield b"0"


def test_an_error_ends_what_is_under_way(layout: Planted, tmp_path: Path) -> None:
    endless = layout.blob(OCI_LAYER, b"0")
    missing = Descriptor(media_type=OCI_LAYER, digest=sha256(b"missing"), size=7)
    root = layout.image("linux/amd64", endless, missing)
    source = Endless(layout.place.directory, endless)

    with pytest.raises(NotFound, match=missing.digest):
        copy(root, source, Layout(tmp_path / "target"))

    assert list((tmp_path / "target/ingest").iterdir()) == []


def test_other_bytes_than_those_of_the_digest(
    layout: Planted, server: Registry, tmp_path: Path
) -> None:
    layer = layout.blob(OCI_LAYER, b"right")
    root = layout.image("linux/amd64", layer)
    copy(root, layout.place, at(server, "app"))
    server.blobs["app", layer.digest] = b"wrong"
    target = Layout(tmp_path / "target")

    with pytest.raises(IntegrityError, match="have another digest"):
        copy(root, at(server, "app"), target, Wanted(tags=("1",)))

    assert not (tmp_path / "target/index.json").exists()
    assert list((tmp_path / "target/ingest").iterdir()) == []


def test_the_likeliest_origin_is_at_the_same_host_and_shares_the_path() -> None:
    origins = ("h/other/base", "h/team/base", "elsewhere/team/app2")

    assert nearest("h/team/app", origins) == "h/team/base"
    assert nearest("g/team/app", origins) == ""


# Those who look on


def test_it_is_told_how_far_a_copy_is(layout: Planted, server: Registry) -> None:
    layer = layout.blob(OCI_LAYER, bytes(3 << 20))
    told: list[object] = []

    @contextmanager
    def span(descriptor: Descriptor) -> Iterator[None]:
        told.append(("begin", descriptor.digest))
        yield
        told.append(("end", descriptor.digest))

    def progress(blob: Descriptor, current: int) -> None:
        if blob.digest == layer.digest:
            told.append(current >> 20)

    root = layout.image("linux/amd64", layer)
    copy(root, layout.place, at(server, "app"), watch=Watch(manifest=span, blob=progress))

    assert told == [("begin", root.digest), 0, 1, 2, 3, ("end", root.digest)]


def test_a_copy_is_cancelled_in_the_middle_of_a_blob(layout: Planted, tmp_path: Path) -> None:
    root = layout.image("linux/amd64", layout.blob(OCI_LAYER, bytes(3 << 20)))
    cancel = CancelToken()
    watch = Watch(blob=lambda _blob, current: cancel.cancel() if current else None, cancel=cancel)

    with pytest.raises(Cancelled):
        copy(root, layout.place, Layout(tmp_path / "target"), Wanted(tags=("1",)), watch)

    assert not (tmp_path / "target/index.json").exists()
    assert list((tmp_path / "target/ingest").iterdir()) == []


# What others made


def test_indexes_without_end(layout: Planted, server: Registry) -> None:
    inner = layout.two()
    for _ in range(12):
        inner = layout.index(inner)

    with pytest.raises(IntegrityError, match="manifests in manifests without end"):
        copy(inner, layout.place, at(server, "app"))

    assert server.requests == [f"HEAD /v2/app/manifests/{inner.digest}"]


def test_a_document_that_is_another(layout: Planted, server: Registry, tmp_path: Path) -> None:
    root = layout.two()
    copy(root, layout.place, at(server, "app"))
    server.manifests["app", root.digest] = (OCI_INDEX, b"{}")

    with pytest.raises(IntegrityError, match=digest_of(b"{}")):
        copy(root, at(server, "app"), Layout(tmp_path / "target"))
