"""Images that aren't what they claim to be, each in one way."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polyarch.digest import sha256
from polyarch.emulation.elf import build_elf
from polyarch.images.layout import Layout
from polyarch.images.verifying import Verified, verify_image
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken

ARM64 = build_elf(b"\0" * 4, bits=64, little_endian=True, machine=183, flags=0)
AMD64 = build_elf(b"\0" * 4, bits=64, little_endian=True, machine=62, flags=0)


def packed(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@dataclass
class Image:
    """An image of two layers in a layout; what it claims may be changed before it is written."""

    layout: Path
    program: bytes = AMD64
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    entry: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    times: int = 1

    def make(self) -> None:
        base = packed({"bin/app": b"old", "usr/lib/kept": b"x", "usr/gone/file": b"x"})
        upper = packed({"bin/app": self.program, "usr/.wh.gone": b""})
        self.config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["app"], "Env": ["PATH=/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(base), sha256(upper)]},
            "history": [{"created_by": "a"}, {"empty_layer": True}, {"created_by": "b"}],
        }
        layers = [gzip.compress(base, mtime=0), gzip.compress(upper, mtime=0)]
        self.manifest = {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "layers": [self.blob(media.OCI_LAYER_GZIP, each) for each in layers],
        }
        self.entry = {"platform": {"os": "linux", "architecture": "amd64"}}

    def blob(self, media_type: str, data: bytes) -> dict[str, Any]:
        digest = sha256(data)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def document(self, media_type: str, value: object) -> dict[str, Any]:
        return self.blob(media_type, json.dumps(value).encode())

    def verify(self, change: Callable[[Image], object]) -> Verified:
        """Make it, change it, write it, and verify it."""
        self.make()
        change(self)
        config = self.document(media.OCI_CONFIG, self.config)
        manifest = self.document(media.OCI_MANIFEST, {"config": config, **self.manifest})
        entries = [{**manifest, **self.entry}] * self.times
        index = {"schemaVersion": 2, "manifests": entries}
        root = self.document(media.OCI_INDEX, index)
        (self.layout / "blobs/sha256").mkdir(parents=True)
        for digest, data in self.blobs.items():
            (self.layout / "blobs" / digest.replace(":", "/")).write_bytes(data)
        return verify_image(
            Layout(self.layout),
            Descriptor.from_json(root),
            self.layout / "scratch",
            partial=False,
            cancel=CancelToken(),
        )


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(layout=tmp_path / "layout")


def test_an_image_that_is_what_it_claims(image: Image) -> None:
    result = image.verify(lambda _: None)

    assert (result.findings, result.platforms, result.layers) == ([], ["linux/amd64"], 2)
    assert result.bytes == sum(map(len, image.blobs.values()))


def test_an_index_that_lists_an_image_twice(image: Image) -> None:
    image.times = 2
    result = image.verify(lambda _: None)

    assert (result.findings, result.platforms) == ([], ["linux/amd64"] * 2)


def other_layer(image: Image) -> None:
    """Let the config tell of other content."""
    image.config["rootfs"]["diff_ids"][1] = sha256(b"other")


def cut_layer(image: Image) -> None:
    digest = image.manifest["layers"][0]["digest"]
    image.blobs[digest] = image.blobs[digest][:-20]


def other_bytes(image: Image) -> None:
    digest = image.manifest["layers"][0]["digest"]
    image.blobs[digest] = gzip.compress(b"\0" * 1024)


def lost_layer(image: Image) -> None:
    del image.blobs[image.manifest["layers"][0]["digest"]]


def arm_program(image: Image) -> None:
    image.program = ARM64
    image.make()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            other_layer,
            ["the diff ID of the layer: sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27"],
        ),
        (cut_layer, ["is damaged"]),
        (
            other_bytes,
            ["the digest of the layer: sha256:", "the size of the layer: ", "the diff ID"],
        ),
        (lost_layer, [": not found"]),
        (arm_program, ["'app' doesn't start on linux/amd64: "]),
        (
            lambda image: image.config["history"].pop(),
            ["history tells of: 1 is claimed, and 2 found"],
        ),
        (
            lambda image: image.config["rootfs"]["diff_ids"].pop(),
            ["the number of layers: 1 is claimed, and 2 found"],
        ),
        (
            lambda image: image.config.update(architecture="arm64"),
            ["the platform of the config: linux/amd64 is claimed, and linux/arm64 found"],
        ),
        (
            lambda image: image.manifest["layers"][0].update(size=5),
            ["the size of the layer: 5 is claimed, and "],
        ),
        (
            lambda image: image.manifest["layers"][0].update(mediaType=media.OCI_LAYER_ZSTD),
            ["the compression of the layer: zstd is claimed, and gzip found"],
        ),
        (lambda image: image.manifest.update(config={}), ["config"]),
        (
            lambda image: image.entry.update(size=7),
            ["the size of the manifest: 7 is claimed, and "],
        ),
    ],
)
def test_each_claim_is_recomputed(
    image: Image, change: Callable[[Image], object], found: list[str]
) -> None:
    findings = list(map(str, image.verify(change).findings))

    assert len(findings) == len(found), findings
    for finding, text in zip(findings, found, strict=True):
        assert text in finding
