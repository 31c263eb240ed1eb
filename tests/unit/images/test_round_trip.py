"""Random images through layouts: what is written and read again, or copied on, is the same."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.digest import Digest, sha256
from polyarch.images.layout import Layout, open_layout, parse_layout
from polyarch.images.place import BlobReader, read_blob
from polyarch.images.transfer import Wanted, copy
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from polyarch.platforms import Platform
from tests.support.images.layouts import read_directory


@dataclass(frozen=True)
class Image:
    """What a manifest says; `noted` are the annotations that an index has beside it."""

    config: bytes
    layers: tuple[bytes, ...]
    annotations: Mapping[str, str]
    noted: Mapping[str, str]
    platform: Platform | None


@dataclass(frozen=True)
class Listed:
    """An index, and what is in it."""

    children: tuple[Image | Listed, ...]
    annotations: Mapping[str, str]
    noted: Mapping[str, str]
    platform: Platform | None


@dataclass
class Memory:
    """A source of images that were made up."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    name: str = "memory"

    def put(self, media_type: str, data: bytes, **more: object) -> Descriptor:
        digest = sha256(data)
        self.blobs[digest] = data
        made = {"mediaType": media_type, "digest": digest, "size": len(data)}
        return Descriptor.from_json(
            {**made, **{key: value for key, value in more.items() if value}}
        )

    def add(self, node: Image | Listed) -> Descriptor:
        """Make the documents of a node, what is in it first; return what a parent would list."""
        document: dict[str, object] = {"schemaVersion": 2, "annotations": dict(node.annotations)}
        if isinstance(node, Listed):
            media_type = OCI_INDEX
            document["manifests"] = [self.add(child).to_json() for child in node.children]
        else:
            media_type = OCI_MANIFEST
            document["config"] = self.put(OCI_CONFIG, node.config).to_json()
            document["layers"] = [self.put(OCI_LAYER, each).to_json() for each in node.layers]
        data = json.dumps({**document, "mediaType": media_type}).encode()
        platform = node.platform and _platform_json(node.platform)
        return self.put(media_type, data, annotations=dict(node.noted), platform=platform)

    def manifest(self, descriptor: Descriptor) -> bytes:
        return self.blobs[descriptor.digest]

    def open_blob(self, blob: Descriptor) -> BlobReader:
        def chunks() -> Generator[bytes, None, None]:
            yield self.blobs[blob.digest]

        return BlobReader(chunks=chunks)

    def origins(self, digest: Digest) -> tuple[str, ...]:
        return ()

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        return ()


def _platform_json(platform: Platform) -> dict[str, object]:
    return {
        "os": platform.os,
        "architecture": platform.architecture,
        "variant": platform.variant,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
    }


def read(place: Layout, descriptor: Descriptor) -> Image | Listed:
    """Read a node and all below it."""
    data = place.manifest(descriptor)
    noted, platform = descriptor.annotations, descriptor.platform
    if descriptor.media_type == OCI_INDEX:
        index = parse_index(data)
        children = tuple(read(place, child) for child in index.manifests)
        return Listed(children, index.annotations, noted, platform)
    manifest = parse_manifest(data)
    layers = tuple(read_blob(place, layer) for layer in manifest.layers)
    annotations = {key: str(value) for key, value in manifest.annotations.items()}
    return Image(read_blob(place, manifest.config), layers, annotations, noted, platform)


notes = st.dictionaries(
    st.sampled_from(["org.opencontainers.image.title", "a", "é", "with blank "]),
    st.text(max_size=8),
    max_size=3,
)
names = st.sampled_from(["linux", "arm64", "amd64", "v7", "windows", "unknown"])
platforms = st.none() | st.builds(
    Platform,
    os=names,
    architecture=names,
    variant=st.just("") | names,
    os_version=st.sampled_from(["", "10.0.17763.1"]),
    os_features=st.lists(names, max_size=2).map(tuple),
)
images = st.builds(
    Image,
    st.binary(max_size=20),
    st.lists(st.binary(max_size=20), max_size=3).map(tuple),
    notes,
    notes,
    platforms,
)


def _listed(children: st.SearchStrategy[Image | Listed]) -> st.SearchStrategy[Image | Listed]:
    several = st.lists(children, max_size=3).map(tuple)
    return st.builds(Listed, several, notes, notes, platforms)


nodes = st.recursive(images, _listed, max_leaves=6)
tags = st.dictionaries(st.sampled_from(["1", "latest", "x.y-z"]), nodes, min_size=1)


@settings(max_examples=30)
@given(tags)
def test_what_is_written_is_read_and_copied_as_it_was(named: dict[str, Image | Listed]) -> None:
    memory = Memory()
    with tempfile.TemporaryDirectory() as directory:
        first, second = Layout(Path(directory) / "1"), Layout(Path(directory) / "2")
        for tag, node in named.items():
            copy(memory.add(node), memory, first, Wanted(tags=(tag,)))
        for tag, node in named.items():
            address = parse_layout(f"oci-layout://{first.directory}:{tag}")
            place = open_layout(address)
            found, data = place.load(address.target)

            title = {"org.opencontainers.image.ref.name": tag}
            assert found.annotations == {**node.noted, **title}
            assert data == memory.blobs[found.digest]
            assert read(place, memory.add(node)) == node
            copy(memory.add(node), place, second, Wanted(tags=(tag,)))
        assert read_directory(second.directory) == read_directory(first.directory)
        assert {each.name for each in (first.directory / "blobs/sha256").iterdir()} == {
            digest.removeprefix("sha256:") for digest in memory.blobs
        }
