"""Images put into the programmable registry as they are, however broken."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable

from tests.support.network.registry import Registry, digest_of
from tools.gzipped import gzipped

__all__ = ["LAYER", "MANIFEST", "Member", "plant_image", "tar_of"]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Member = tuple[str, dict[str, object], bytes]
"""An entry of a tar archive: its name, attributes of `tarfile.TarInfo`, the content of a file."""
Json = dict[str, object]


def tar_of(members: Iterable[Member]) -> bytes:
    """Pack entries as they are, also those that no archiver would write."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, attributes, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            for key, value in attributes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def plant_image(
    server: Registry,
    name: str,
    layer: bytes,
    change: Callable[[Json, Json], None] = lambda _manifest, _config: None,
) -> str:
    """Store an image of one layer as `name:latest`; return the digest of the layer's blob.

    `change` may spoil the manifest and the config before they are stored.
    """
    packed = gzipped(layer, 6)
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config: Json = {
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    descriptor = {"mediaType": LAYER, "digest": digest_of(packed), "size": len(packed)}
    manifest: Json = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [descriptor]}
    change(manifest, config)
    data = json.dumps(config).encode()
    manifest["config"] = {"mediaType": CONFIG, "digest": digest_of(data), "size": len(data)}
    whole = json.dumps(manifest).encode()
    server.blobs[name, digest_of(packed)] = packed
    server.blobs[name, digest_of(data)] = data
    server.manifests[name, "latest"] = (MANIFEST, whole)
    server.manifests[name, digest_of(whole)] = (MANIFEST, whole)
    return digest_of(packed)
