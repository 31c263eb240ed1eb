"""Blobs brought here for an export, and images carried to registries."""

from __future__ import annotations

from dataclasses import dataclass

from polyarch.exporter.layout import Export
from polyarch.oci.reference import Reference
from polyarch.progress import CancelToken, Step
from polyarch.snapshot.stack import LayerRef, snapshot_of_diff
from polyarch.worker.source_image import ImageSource

__all__ = ["RegistryCarrier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCarrier:
    """The exporter's `Carrier` for the distribution spec."""

    images: ImageSource

    def ensure(self, export: Export, shown: Step, cancel: CancelToken) -> None:
        """Fetch the base layers of an export that aren't in the store yet."""
        for image in export.images:
            for layer in image.layers:
                if layer.sources:
                    reference = LayerRef(
                        snapshot=snapshot_of_diff(layer.diff_id),
                        diff_id=layer.diff_id,
                        blob=layer.descriptor,
                        sources=layer.sources,
                    )
                    self.images.ensure_blob(reference, shown.digest, cancel)

    def push(self, export: Export, name: Reference, shown: Step, cancel: CancelToken) -> None:
        """Push an export under a name."""
        raise NotImplementedError
