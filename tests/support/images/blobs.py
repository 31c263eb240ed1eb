"""Image layouts put together by hand, blob by blob."""

from __future__ import annotations

from pathlib import Path

from polyarch.digest import sha256
from polyarch.oci.descriptor import Descriptor

__all__ = ["begin_layout", "put_blob"]


def begin_layout(directory: Path) -> None:
    """Write what makes a directory a layout, in which nothing is listed."""
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')


def put_blob(directory: Path, media_type: str, data: bytes) -> Descriptor:
    """Put a blob into a layout."""
    digest = sha256(data)
    path = directory / "blobs" / digest.replace(":", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Descriptor(media_type=media_type, digest=digest, size=len(data))
