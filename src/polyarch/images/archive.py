"""An OCI image layout as a tar archive; with one more file, also the archive of `docker load`.

Source: OCI image-spec v1.1, image-layout.md; order and modes as BuildKit writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import BinaryIO, Protocol

from polyarch.digest import Digest
from polyarch.images.layout import VERSION, blob_path, index_json
from polyarch.layer.tar import DIRECTORY, Entry, Sink, TarWriter
from polyarch.oci.descriptor import Descriptor

__all__ = ["BlobFiles", "write_archive"]


class BlobFiles(Protocol):
    """Where the bytes of blobs are read; `polyarch.store.blobs.Blobs` is one."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading."""

    def size(self, digest: Digest) -> int:
        """Return its size in bytes."""


def write_archive(
    entries: Iterable[Descriptor],
    digests: Iterable[Digest],
    blobs: BlobFiles,
    sink: Sink,
    more: Mapping[str, bytes],
) -> None:
    """Write a layout, its files sorted by name.

    `entries` is its index, `digests` are the blobs that it holds, `more` are files beside those of the
    specification. Raises NotFound for a blob that isn't there, StoreError, Cancelled.
    """
    files: dict[str, bytes | Digest] = {
        "index.json": index_json(entry.to_json() for entry in entries),
        "oci-layout": VERSION,
        **more,
        **{blob_path(digest): digest for digest in digests},
    }
    writer = TarWriter(sink)
    writer.add(Entry(name="blobs", kind=DIRECTORY, mode=0o755))
    writer.add(Entry(name="blobs/sha256", kind=DIRECTORY, mode=0o755))
    for name, content in sorted(files.items()):
        if isinstance(content, bytes):
            mode = 0o444 if name == "oci-layout" else 0o644
            writer.add(Entry(name=name, mode=mode, size=len(content)), content)
        else:
            with blobs.open(content) as stream:
                size = blobs.size(content)
                writer.add_file(Entry(name=name, mode=0o444, size=size), stream.fileno())
    writer.end()
