"""Media types in images: OCI's, or Docker's older names, which know no annotations of layers.

Source: BuildKit's `exporter/containerimage/writer.go` and `cache/refs.go`.
"""

from __future__ import annotations

from polyarch.exporter.layers import REWRITTEN, ExportedLayer
from polyarch.layer.kinds import TOC_DIGEST, UNCOMPRESSED_SIZE
from polyarch.oci import media
from polyarch.record import frozen, replace

__all__ = ["Types"]

_KEPT = frozenset({TOC_DIGEST, UNCOMPRESSED_SIZE, REWRITTEN})
"""Annotations of layers that are handed on; others are for those who have made the base image."""


@frozen
class Types:
    """Which media types an image has.

    Without `is_oci` they are Docker's; with `keeps_foreign` layers of base images that are fetched from URLs stay what
    they are, else they become layers like all others.
    """

    is_oci: bool = True
    keeps_foreign: bool = False

    def named(self, media_type: str) -> str:
        """Return what a type is called here."""
        return media.oci_type(media_type) if self.is_oci else media.docker_type(media_type)

    def described(self, layer: ExportedLayer) -> ExportedLayer:
        """Return a layer as an image of these types has it."""
        old = layer.descriptor
        if self.keeps_foreign and old.urls:
            media_type, urls = media.nondistributable(old.media_type), old.urls
        else:
            media_type, urls = media.distributable(old.media_type), ()
        noted = {key: value for key, value in old.annotations.items() if key in _KEPT}
        descriptor = replace(
            old,
            media_type=self.named(media_type),
            urls=urls,
            annotations=noted if self.is_oci else {},
        )
        return layer if descriptor == old else replace(layer, descriptor=descriptor)
