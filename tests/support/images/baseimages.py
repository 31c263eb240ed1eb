"""A small base image of busybox for several platforms, pushed by plain calls of the distribution API."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

from tests.support.images.rootfs import make_rootfs
from tools.gzipped import gzipped

__all__ = ["digest_of", "layer_of", "push_base", "push_image", "put_manifest"]

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_VARIANTS = {"arm64": "v8", "arm": "v7"}


def push_base(host: str, name: str, architectures: Sequence[str], scratch: Path) -> None:
    """Make `host/name:latest` an index with an image for each of `architectures` (Go's names)."""
    repository = f"http://{host}/v2/{name}"
    manifests = []
    for architecture in architectures:
        root = scratch / architecture
        if not root.exists():
            make_rootfs(root, architecture)
        platform = _platform(architecture)
        descriptor = push_image(repository, layer_of(root), platform)
        manifests.append({**descriptor, "platform": platform})
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    put_manifest(repository, "latest", _INDEX, json.dumps(index).encode())


def _platform(architecture: str) -> dict[str, str]:
    platform = {"os": "linux", "architecture": architecture}
    if variant := _VARIANTS.get(architecture):
        platform["variant"] = variant
    return platform


def layer_of(root: Path) -> bytes:
    """Pack `root` as a tar whose bytes depend on its content only."""

    def clean(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 1_700_000_000
        return member

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            archive.add(path, str(path.relative_to(root)), recursive=False, filter=clean)
    return packed.getvalue()


def push_image(repository: str, layer: bytes, platform: dict[str, str]) -> dict[str, object]:
    """Push an image of one layer; return its descriptor."""
    config = {
        **platform,
        "created": "2023-11-14T22:13:20Z",
        "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "base"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _push_blob(repository, _CONFIG, json.dumps(config).encode()),
        "layers": [_push_blob(repository, _LAYER, gzipped(layer, 6))],
    }
    data = json.dumps(manifest).encode()
    put_manifest(repository, digest_of(data), _MANIFEST, data)
    return {"mediaType": _MANIFEST, "digest": digest_of(data), "size": len(data)}


def _push_blob(repository: str, media_type: str, data: bytes) -> dict[str, object]:
    start = urllib.request.Request(f"{repository}/blobs/uploads/", method="POST", data=b"")
    with urllib.request.urlopen(start) as answer:
        location = urljoin(repository, answer.headers["Location"])
    separator = "&" if "?" in location else "?"
    url = f"{location}{separator}digest={digest_of(data)}"
    headers = {"Content-Type": "application/octet-stream"}
    with urllib.request.urlopen(
        urllib.request.Request(url, method="PUT", data=data, headers=headers)
    ):
        pass
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def put_manifest(repository: str, target: str, media_type: str, data: bytes) -> None:
    url = f"{repository}/manifests/{target}"
    headers = {"Content-Type": media_type}
    with urllib.request.urlopen(
        urllib.request.Request(url, method="PUT", data=data, headers=headers)
    ):
        pass


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
