"""Manifests: the config and the layers of one image. Source: OCI image-spec v1.1, manifest.md."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import Digest
from polyarch.errors import IntegrityError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields, naming, read_document
from polyarch.record import frozen

__all__ = ["Manifest", "parse_manifest", "subject_of"]


@frozen
class Manifest:
    """An image for one platform: layers are in the order in which they are unpacked."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    media_type: str


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest. Raises IntegrityError, naming the place."""
    with naming("manifest", data):
        return _parse(read_document(data))


def _parse(fields: Fields) -> Manifest:
    # A document that can be read as either kind could show two images under one digest.
    if "manifests" in fields:
        raise IntegrityError("the manifest has manifests, as only an index may")
    if "fsLayers" in fields:
        raise IntegrityError(
            "the manifest is of schema 1, which isn't supported",
            hint="push the image again with a newer client",
        )
    return Manifest(
        config=Descriptor.from_fields(fields.object("config")),
        layers=tuple(Descriptor.from_fields(each) for each in fields.objects("layers")),
        annotations=fields.text_map("annotations"),
        media_type=fields.text("mediaType"),
    )


def subject_of(data: bytes) -> Digest | None:
    """Return which manifest a manifest or index is about, as signatures are; None for most.

    Raises IntegrityError, InvalidDigest.
    """
    fields = read_document(data)
    if "subject" not in fields:
        return None
    return Descriptor.from_fields(fields.object("subject")).digest
