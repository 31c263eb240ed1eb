"""Whether a result is what a name stands for already: what `--if-changed` asks before anything is pushed.

It is, if the digests are the same; and if an index has the same images for the same platforms, whatever else is in it:
attestations tell of the run of a build as well, and another run of the same build makes the same image.
"""

from __future__ import annotations

import json

from polyarch.digest import Digest
from polyarch.errors import InputError, NotFound
from polyarch.exporter.outputs import IMAGE_TYPES
from polyarch.exporter.result import Export
from polyarch.images.places import Places
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.media import is_index
from polyarch.oci.platform import NOWHERE
from polyarch.oci.reference import parse as parse_reference
from polyarch.request.outputs import is_pushed
from polyarch.request.values import BuildRequest
from polyarch.store.store import Store

__all__ = ["check_wish", "find_change"]


def check_wish(request: BuildRequest) -> None:
    """Raise InputError if there will be no image to compare, and InvalidReference."""
    if request.if_changed:
        parse_reference(request.if_changed)
        if not any(output.type in IMAGE_TYPES for output in request.outputs):
            raise InputError(
                "--if-changed compares an image, and no output of this build holds one",
                hint="push the result with --push, or name it with -t",
            )


def find_change(
    request: BuildRequest, export: Export | None, store: Store, places: Places
) -> bool | None:
    """Return whether the result is another one than that of `request.if_changed`; None if nobody asks.

    The name is that of its registry where something is to be pushed, else of the local store if it is there. Raises
    InvalidReference, and RegistryError for a registry that doesn't tell.
    """
    if not request.if_changed:
        return None
    assert export is not None
    name = parse_reference(request.if_changed)
    known = None if any(map(is_pushed, request.outputs)) else store.refs.find(name.canonical)
    repository = places.repository(name)
    try:
        if known is not None:
            root = Descriptor.from_json(json.loads(known.descriptor))
        else:
            root = repository.resolve()
        if root.digest == export.root.descriptor.digest:
            return False
        if not is_index(root.media_type):
            return True
        data = store.blobs.read(root.digest) if known is not None else repository.manifest(root)
    except NotFound:
        return True
    return _images(data) != {image.manifest.descriptor.digest for image in export.images}


def _images(index: bytes) -> set[Digest]:
    """Return the manifests of an index that are images."""
    return {
        each.digest
        for each in parse_index(index).manifests
        if each.platform is None or each.platform.os != NOWHERE.os
    }
