"""An image as an OCI image layout, in a directory or as an archive; also the archive of `docker load`.

How layouts are written is in `images`; here is what an export adds to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from polyarch.errors import InputError
from polyarch.exporter.assemble import ImageResult
from polyarch.exporter.outfile import made_directory
from polyarch.exporter.result import Export
from polyarch.golang.json import compact
from polyarch.images import archive
from polyarch.images.archive import BlobFiles
from polyarch.images.layout import Layout, blob_path
from polyarch.images.store_place import StorePlace
from polyarch.images.transfer import Watch, copy
from polyarch.layer.tar import Sink
from polyarch.oci.base import REF_NAME
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import is_index
from polyarch.oci.reference import Reference
from polyarch.record import replace
from polyarch.store.trouble import output_trouble

__all__ = ["named_entry", "write_archive", "write_directory", "write_docker_archive"]


def write_archive(export: Export, blobs: BlobFiles, sink: Sink, *, for_docker: bool) -> None:
    """Write the layout as a tar archive.

    `for_docker` adds the `manifest.json` that `docker load` reads. Raises InputError if there are several images, as none
    of them would have the name.
    """
    if not for_docker:
        entries = [*export.entries(), *export.referrer_entries()]
        archive.write_archive(entries, export.digests, blobs, sink, {})
        return
    if is_index(export.root.descriptor.media_type):
        raise InputError(
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
            hint="build for one platform, or use type=oci",
        )
    write_docker_archive(export, [(export.images[0], export.names)], blobs, sink)


def write_docker_archive(
    export: Export,
    names: Iterable[tuple[ImageResult, Sequence[Reference]]],
    blobs: BlobFiles,
    sink: Sink,
) -> None:
    """Write the layout with a `manifest.json` in which each image has its own names."""
    entries = [
        {
            "Config": blob_path(image.config.descriptor.digest),
            "RepoTags": [name.familiar for name in tags] or None,
            "Layers": [blob_path(layer.descriptor.digest) for layer in image.layers],
        }
        for image, tags in names
    ]
    more = {"manifest.json": compact(entries)}
    described = [*export.entries(), *export.referrer_entries()]
    archive.write_archive(described, export.digests, blobs, sink, more)


def write_directory(export: Export, source: StorePlace, directory: Path) -> None:
    """Add an image whose documents are in the store to the layout in `directory`, made if it isn't there.

    An entry of the same name is replaced, others stay. Raises StoreError, InputError, and what fetching raises; the
    index is then as it was.
    """
    with output_trouble("write to", directory), made_directory(directory):
        layout = Layout(directory)
        watch = Watch(cancel=source.fetcher.cancel)
        for each in (export.root, *export.referrers):
            copy(each.descriptor, source, layout, watch=watch)
        layout.list_entries(map(named_entry, export.entries()))


def named_entry(entry: Descriptor) -> Descriptor:
    """Give a result without a name the tag `latest`, as it must be found again in the directory."""
    if REF_NAME in entry.annotations:
        return entry
    return replace(entry, annotations={**entry.annotations, REF_NAME: "latest"})
