"""Images of other machines, taken for this one."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from polyarch.digest import sha256
from polyarch.errors import IntegrityError
from polyarch.images.layout import Layout, index_json
from polyarch.images.local import list_images
from polyarch.pipeline.taking import Taking
from polyarch.progress import CancelToken, ignore_events
from polyarch.request.values import Output
from tests.support.fakes.engine import FakeEngine

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


class Archive:
    """A layout as a daemon sends it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def add(self, media_type: str, value: object) -> dict[str, Any]:
        """Add a blob, JSON unless it's bytes, and return its descriptor."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        digest = sha256(data)
        self.files[f"blobs/{digest.replace(':', '/')}"] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def image(self, architecture: str, layers: int = 1) -> dict[str, Any]:
        """Add an image with one layer that its config names."""
        layer = self.add(_LAYER, bytes(10240))
        config = {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        manifest = {"schemaVersion": 2, "config": self.add(_CONFIG, config)}
        whole = {**manifest, "mediaType": _MANIFEST, "layers": [layer] * layers}
        platform = {"platform": {"architecture": architecture, "os": "linux"}}
        return {**self.add(_MANIFEST, whole), **platform}

    def attested(self, image: dict[str, Any]) -> dict[str, Any]:
        """Add what is said of an image."""
        statement = self.add("application/vnd.in-toto+json", {"subject": image["digest"]})
        config = self.add(_CONFIG, {"architecture": "unknown", "os": "unknown"})
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config}
        noted = {
            "vnd.docker.reference.digest": image["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        }
        return {
            **self.add(_MANIFEST, {**manifest, "layers": [statement]}),
            "annotations": noted,
            "platform": {"architecture": "unknown", "os": "unknown"},
        }

    def file(self, *entries: dict[str, Any]) -> BinaryIO:
        """Return the archive with these entries in its index."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, data in {**self.files, "index.json": index_json(entries)}.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return cast("BinaryIO", stream)


def take(engine: FakeEngine, output: Output, archive: BinaryIO) -> None:
    taking = Taking(engine=engine, sink=ignore_events, cancel=CancelToken())
    taking.take(output, archive)


def test_it_becomes_a_layout_with_all_that_is_said_of_it(
    engine: FakeEngine, tmp_path: Path
) -> None:
    archive = Archive()
    images = [archive.image("amd64"), archive.image("arm64")]
    listed = [*images, archive.attested(images[0])]
    root = archive.add(_INDEX, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": listed})
    named = {"io.containerd.image.name": "registry.test/other:1"}
    output = Output(
        type="oci",
        destination=str(tmp_path / "out"),
        attributes={"tar": "false", "name": "registry.test/app:1"},
    )

    take(engine, output, archive.file({**root, "annotations": named}))

    descriptor, _ = Layout(tmp_path / "out").load("1")
    written = {path.name for path in (tmp_path / "out/blobs/sha256").iterdir()}
    assert descriptor.digest == root["digest"]
    assert written == {path.rpartition("/")[2] for path in archive.files if "sha256" in path}
    assert list_images(engine.store) == ()


@pytest.mark.parametrize("trouble", ["none", "two", "lacking", "layers"])
def test_what_is_no_image(engine: FakeEngine, tmp_path: Path, trouble: str) -> None:
    archive = Archive()
    entries = [archive.image("amd64", layers=2 if trouble == "layers" else 1)]
    if trouble == "none":
        entries = []
    elif trouble == "two":
        entries.append(archive.image("arm64"))
    elif trouble == "lacking":
        lacking = {**archive.image("arm64"), "digest": f"sha256:{'0' * 64}"}
        listed = [*entries, lacking]
        entries = [archive.add(_INDEX, {"schemaVersion": 2, "manifests": listed})]
    output = Output(type="oci", destination=str(tmp_path / "out"), attributes={"tar": "false"})

    with pytest.raises(IntegrityError):
        take(engine, output, archive.file(*entries))

    assert not (tmp_path / "out").exists()
