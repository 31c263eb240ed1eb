"""A validator of image layouts and archives, of our own reading of the specification.

It shares no code with what it judges: every digest, size, media type and diff ID that a document claims
is computed anew from the bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Found", "FoundImage", "read_archive", "read_directory", "validate", "validate_docker"]

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_OPENERS = {
    _LAYER: lambda data: data,
    f"{_LAYER}+gzip": gzip.decompress,
    f"{_LAYER}+zstd": zstd.decompress,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image whose documents and layers are what they say; `layers` are uncompressed archives."""

    digest: str
    config: Mapping[str, Any]
    layers: tuple[bytes, ...]

    @property
    def platform(self) -> str:
        parts = (self.config.get(key, "") for key in ("os", "architecture", "variant"))
        return "/".join(filter(None, parts))

    def names(self) -> list[list[str]]:
        """The members of each layer."""
        found = []
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
                found.append(archive.getnames())
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is in a layout: the entries of its index by name, and all images."""

    entries: dict[str, str]
    images: tuple[FoundImage, ...]


def read_directory(directory: Path) -> dict[str, bytes]:
    """Return the files of a layout by their relative names."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def read_archive(data: bytes) -> dict[str, bytes]:
    """Return the files of an archive by name; every name must be there once, in order."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        assert len(set(names)) == len(names), names
        files: dict[str, bytes] = {}
        for member in members:
            assert member.isfile() or member.isdir(), member.name
            stream = archive.extractfile(member)
            if stream is not None:
                files[member.name] = stream.read()
    assert list(files) == sorted(files)
    return files


def validate(files: Mapping[str, bytes]) -> Found:
    """Check an OCI image layout as a whole; nothing may be missing, wrong or superfluous."""
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    assert index["schemaVersion"] == 2
    blobs = {name: data for name, data in files.items() if name.startswith("blobs/")}
    for name, data in blobs.items():
        algorithm, encoded = name.split("/")[1:]
        assert hashlib.new(algorithm, data).hexdigest() == encoded, name
    used: set[str] = set()
    images: dict[str, FoundImage] = {}
    entries = {}
    for entry in index["manifests"]:
        for image in _follow(entry, blobs, used):
            images[image.digest] = image
        annotations = entry.get("annotations", {})
        entries[annotations.get("io.containerd.image.name", "")] = entry["digest"]
    assert used == set(blobs), "blobs that nobody asks for"
    return Found(entries=entries, images=tuple(images.values()))


def validate_docker(files: Mapping[str, bytes]) -> tuple[list[str], FoundImage]:
    """Check what `docker load` reads; return the tags and the image."""
    (described,) = json.loads(files["manifest.json"])
    found = validate({name: data for name, data in files.items() if name != "manifest.json"})
    (image,) = found.images
    config = files[described["Config"]]
    assert json.loads(config) == image.config
    diff_ids = image.config["rootfs"]["diff_ids"]
    assert len(described["Layers"]) == len(diff_ids)
    for path, layer in zip(described["Layers"], image.layers, strict=True):
        assert _opened(files[path]) == layer
    return described["RepoTags"] or [], image


def _follow(
    descriptor: Mapping[str, Any], blobs: Mapping[str, bytes], used: set[str]
) -> list[FoundImage]:
    document = json.loads(_blob(descriptor, blobs, used))
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == descriptor["mediaType"]
    if descriptor["mediaType"] == _INDEX:
        found = []
        for entry in document["manifests"]:
            if entry["platform"] == {"architecture": "unknown", "os": "unknown"}:
                _attestation(entry, blobs, used)
                continue
            (image,) = _follow(entry, blobs, used)
            assert _platform(entry["platform"]) == image.platform
            found.append(image)
        platforms = [image.platform for image in found]
        assert len(set(platforms)) == len(platforms)
        return found
    assert descriptor["mediaType"] == _MANIFEST
    return [_image(descriptor["digest"], document, blobs, used)]


def _attestation(descriptor: Mapping[str, Any], blobs: Mapping[str, bytes], used: set[str]) -> None:
    """Check statements about an image, which is listed as well."""
    document = json.loads(_blob(descriptor, blobs, used))
    _blob(document["config"], blobs, used)
    for layer in document["layers"]:
        statement = json.loads(_blob(layer, blobs, used))
        assert statement["predicateType"] == layer["annotations"]["in-toto.io/predicate-type"]
    assert descriptor["annotations"]["vnd.docker.reference.digest"] == document["subject"]["digest"]


def _image(
    digest: str, manifest: Mapping[str, Any], blobs: Mapping[str, bytes], used: set[str]
) -> FoundImage:
    assert manifest["config"]["mediaType"] == _CONFIG
    config = json.loads(_blob(manifest["config"], blobs, used))
    layers = []
    for layer in manifest["layers"]:
        layers.append(_OPENERS[layer["mediaType"]](_blob(layer, blobs, used)))
        with tarfile.open(fileobj=io.BytesIO(layers[-1])) as archive:
            archive.getmembers()
    assert config["rootfs"]["type"] == "layers"
    assert config["rootfs"]["diff_ids"] == [_sha256(layer) for layer in layers]
    made = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(made) == len(layers)
    assert config["os"]
    assert config["architecture"]
    return FoundImage(digest=digest, config=config, layers=tuple(layers))


def _blob(descriptor: Mapping[str, Any], blobs: Mapping[str, bytes], used: set[str]) -> bytes:
    name = "blobs/" + descriptor["digest"].replace(":", "/")
    used.add(name)
    data = blobs[name]
    assert len(data) == descriptor["size"], name
    return data


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _opened(data: bytes) -> bytes:
    for magic, kind in ((b"\x1f\x8b", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd")):
        if data.startswith(magic):
            return bytes(_OPENERS[_LAYER + kind](data))
    return data


def _platform(platform: Mapping[str, str]) -> str:
    parts = (platform.get(key, "") for key in ("os", "architecture", "variant"))
    return "/".join(filter(None, parts))
