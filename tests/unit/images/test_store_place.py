"""The store as a place: what is fetched, from where, and what is known of layers that aren't there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import Digest, sha256
from polyarch.errors import IntegrityError, NotFound, RegistryError
from polyarch.images.layout import Layout
from polyarch.images.store_place import KeptDocuments, StoreAsItIs, remember
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from polyarch.record import replace
from polyarch.store.store import Store
from tests.support.images.exports import store_place
from tests.support.network.registry import Registry, registry_places, serving

LAYER = Descriptor(media_type=OCI_LAYER, digest=sha256(b"layer"), size=5)


@pytest.fixture
def server() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def fetches(server: Registry) -> list[str]:
    return [line for line in server.requests if line.startswith("GET")]


def layout(directory: Path) -> str:
    """Make a layout that has the layer; return its address."""
    place = Layout(directory)
    place.put_manifest(LAYER, b"layer", None)
    return place.name


# Fetching


def test_a_blob_comes_from_the_first_that_gives_it(
    store: Store, server: Registry, tmp_path: Path
) -> None:
    server.blobs["good", LAYER.digest] = b"layer"
    fetcher = store_place(store).fetcher
    sources = [f"oci-layout://{tmp_path}/gone", f"{server.host}/none:1", f"{server.host}/good:1"]

    fetcher.ensure(LAYER, [*sources, f"{server.host}/more"])

    assert store.blobs.read(LAYER.digest) == b"layer"
    assert [line.split("/")[2] for line in fetches(server)] == ["none", "good"]


def test_a_blob_comes_from_a_layout(store: Store, tmp_path: Path) -> None:
    store_place(store).fetcher.ensure(LAYER, [layout(tmp_path / "layout")])

    assert store.blobs.has(LAYER.digest)


def test_a_blob_that_is_here_is_not_fetched(store: Store) -> None:
    store.blobs.put(b"layer")

    store_place(store).fetcher.ensure(LAYER, ["nowhere.test/at/all"])


def test_a_blob_that_nobody_has(store: Store, server: Registry) -> None:
    fetcher = store_place(store).fetcher

    with pytest.raises(NotFound, match=f"nobody is known to have the blob {LAYER.digest}"):
        fetcher.ensure(LAYER, [])
    server.failures[f"GET /v2/b/blobs/{LAYER.digest}"] = [403]
    with pytest.raises(RegistryError, match="denied"):
        fetcher.ensure(LAYER, [f"{server.host}/a", f"{server.host}/b"])


def test_other_bytes_are_no_reason_to_ask_the_next(store: Store, server: Registry) -> None:
    server.blobs["bad", LAYER.digest] = b"later"
    server.blobs["good", LAYER.digest] = b"layer"

    with pytest.raises(IntegrityError):
        store_place(store).fetcher.ensure(LAYER, [f"{server.host}/bad", f"{server.host}/good"])

    assert not store.blobs.has(LAYER.digest)


def test_a_blob_is_fetched_once(store: Store, server: Registry) -> None:
    server.blobs["app", LAYER.digest] = b"layer"
    place = store_place(store)
    repository = registry_places().at(f"{server.host}/app")
    taking = [
        threading.Thread(target=place.take_blob, args=(LAYER, repository, lambda _: None))
        for _ in range(4)
    ]
    for thread in taking:
        thread.start()
    for thread in taking:
        thread.join()

    assert len(fetches(server)) == 1


def test_a_config_that_is_too_large_is_not_fetched(store: Store, server: Registry) -> None:
    config = Descriptor(media_type=OCI_CONFIG, digest=LAYER.digest, size=5 << 20)
    repository = registry_places().at(f"{server.host}/app")

    with pytest.raises(IntegrityError, match="is a document of 5242880 bytes"):
        store_place(store).take_blob(config, repository, lambda _: None)

    assert server.requests == []


# What is known of layers


def test_where_layers_are_is_remembered(store: Store) -> None:
    other = Digest("sha256:" + "1" * 64)
    remember(store, {LAYER.digest: ["a.test/x:1", "oci-layout:///l"], other: ["a.test/x:1"]})
    remember(store, {LAYER.digest: ["b.test/y@" + LAYER.digest]})
    place = replace(store_place(store), sources={LAYER.digest: ("oci-layout:///l", "c.test/z:2")})

    assert list(place.origins(LAYER.digest)) == ["c.test/z", "b.test/y", "a.test/x"]
    assert list(place.origins(other)) == ["a.test/x"]


def test_a_layer_is_read_from_where_it_is_remembered(
    store: Store, server: Registry, tmp_path: Path
) -> None:
    server.blobs["app", LAYER.digest] = b"layer"
    remember(store, {LAYER.digest: [f"{server.host}/app"]})

    reader = store_place(store).open_blob(LAYER)

    assert b"".join(reader.chunks()) == b"".join(reader.chunks()) == b"layer"
    assert reader.file is not None
    with reader.file() as file:
        assert file.read() == b"layer"


def test_a_layer_of_a_layout_is_read_from_there(store: Store, tmp_path: Path) -> None:
    sources = {LAYER.digest: (layout(tmp_path / "layout"),)}

    reader = replace(store_place(store), sources=sources).open_blob(LAYER)

    assert b"".join(reader.chunks()) == b"layer"


# Names and documents


def test_a_name_stands_for_what_it_was_given_last(store: Store) -> None:
    place = store_place(store)
    root = Descriptor(media_type=OCI_MANIFEST, digest=sha256(b"{}"), size=2)
    place.tag("docker.io/library/app:1", LAYER, b"layer")
    place.tag("docker.io/library/app:1", root, b"{}")
    place.tag("", LAYER, b"layer")

    (ref,) = store.refs.all()
    assert root.digest in ref.descriptor
    assert place.manifest(root) == b"{}"


def test_documents_are_asked_for_once(store: Store, server: Registry) -> None:
    manifest = Descriptor(media_type=OCI_MANIFEST, digest=sha256(b"{}"), size=2)
    config = Descriptor(media_type=OCI_CONFIG, digest=sha256(b"[]"), size=2)
    server.manifests["app", manifest.digest] = (OCI_MANIFEST, b"{}")
    server.blobs["app", config.digest] = b"[]"
    documents = KeptDocuments(place=registry_places().at(f"{server.host}/app:1"), blobs=store.blobs)

    for _ in range(2):
        assert (documents.manifest(manifest), documents.config(config)) == (b"{}", b"[]")

    assert len(fetches(server)) == 2


# What the disk has spoilt


def test_a_spoilt_blob_is_told_of_and_fetched_anew(
    store: Store, server: Registry, tmp_path: Path
) -> None:
    place = store_place(store)
    store.blobs.put(b"layer")
    store.blobs.path(LAYER.digest).write_bytes(b"lay")
    with pytest.raises(IntegrityError, match="5 bytes are claimed, and the store has 3"):
        StoreAsItIs(place=place).open_blob(LAYER)
    store.blobs.path(LAYER.digest).write_bytes(b"loyer")
    with pytest.raises(IntegrityError, match="was damaged, and nobody is known to have it"):
        place.ensure_sound(LAYER)
    store.blobs.put(b"layer")
    store.blobs.path(LAYER.digest).write_bytes(b"loyer")
    remember(store, {LAYER.digest: [f"{server.host}/good:1"]})
    server.blobs["good", LAYER.digest] = b"layer"
    place.ensure_sound(LAYER)

    assert store.blobs.read(LAYER.digest) == b"layer"
