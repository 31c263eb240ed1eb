"""Blobs brought here for an export, and images carried to registries."""

from __future__ import annotations

from dataclasses import dataclass

from polyarch.digest import Digest
from polyarch.exporter.layers import ExportedLayer
from polyarch.exporter.layout import Export
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import is_index, is_manifest
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, Step
from polyarch.registry.client import Client
from polyarch.registry.push import PushBlob, PushDocument, push
from polyarch.registry.transport import Transport
from polyarch.snapshot.stack import LayerRef, snapshot_of_diff
from polyarch.worker.source_image import ImageSource

__all__ = ["RegistryCarrier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCarrier:
    """The exporter's `Carrier` for the distribution spec."""

    images: ImageSource
    transport: Transport

    def ensure(self, export: Export, shown: Step, cancel: CancelToken) -> None:
        """Fetch the base layers of an export that aren't in the store yet."""
        for image in export.images:
            for layer in image.layers:
                self._ensure(layer, shown.digest, cancel)

    def _ensure(self, layer: ExportedLayer, shown: Digest, cancel: CancelToken) -> None:
        if layer.sources:
            reference = LayerRef(
                snapshot=snapshot_of_diff(layer.diff_id),
                diff_id=layer.diff_id,
                blob=layer.descriptor,
                sources=layer.sources,
            )
            self.images.ensure_blob(reference, shown, cancel)

    def push(self, export: Export, name: Reference, shown: Step, cancel: CancelToken) -> None:
        """Push an export under a name; its documents have to be in the store.

        Raises RegistryError, StoreError.
        """
        layers = {
            layer.descriptor.digest: layer for image in export.images for layer in image.layers
        }

        def ensure(descriptor: Descriptor) -> None:
            if descriptor.digest in layers:
                self._ensure(layers[descriptor.digest], shown.digest, cancel)

        with shown.part("pushing layers"):
            push(
                Client(self.transport, cancel),
                name,
                PushDocument(descriptor=export.root.descriptor, data=export.root.data),
                _manifests(export),
                self._blobs(export, name.domain),
                open_blob=self.images.store.blobs.open,
                ensure_blob=ensure,
            )
        with shown.part(f"pushing manifest for {name.canonical}@{export.root.descriptor.digest}"):
            pass  # in the same breath: the name comes last
        known = self.images.store.layers
        known.add_sources(name.domain, name.path, tuple(layers))

    def _blobs(self, export: Export, host: str) -> list[PushBlob]:
        blobs = [
            PushBlob(descriptor=document.descriptor)
            for document in export.documents
            if not _is_list_or_manifest(document.descriptor)
        ]
        for image in export.images:
            blobs += [
                PushBlob(descriptor=layer.descriptor, sources=self._sources(layer, host))
                for layer in image.layers
            ]
        return blobs

    def _sources(self, layer: ExportedLayer, host: str) -> tuple[str, ...]:
        """Return the repositories at `host` that have the layer, as far as we know."""
        known = self.images.store.layers.sources(layer.descriptor.digest, host)
        named = (parse_reference(source).repository for source in layer.sources)
        return (*named, *(f"{host}/{repository}" for repository in known))


def _manifests(export: Export) -> list[PushDocument]:
    return [
        PushDocument(descriptor=document.descriptor, data=document.data)
        for document in export.documents
        if document != export.root and _is_list_or_manifest(document.descriptor)
    ]


def _is_list_or_manifest(descriptor: Descriptor) -> bool:
    return is_index(descriptor.media_type) or is_manifest(descriptor.media_type)
