"""Blobs brought here for an export, and images carried to registries."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator

from polyarch.digest import Digest
from polyarch.exporter.assemble import Document
from polyarch.exporter.layers import ExportedLayer
from polyarch.exporter.result import Export
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference, parse
from polyarch.progress import CancelToken, Step
from polyarch.record import frozen
from polyarch.registry.client import Client
from polyarch.registry.push import PushBlob, PushDocument, push
from polyarch.registry.transport import Transport
from polyarch.snapshot.stack import LayerRef, snapshot_of_diff
from polyarch.store.store import Store
from polyarch.worker.source_image import ImageSource

__all__ = ["RegistryCarrier"]


@frozen
class RegistryCarrier:
    """The exporter's `Carrier` for the distribution spec."""

    store: Store
    images: ImageSource
    transport: Transport

    def ensure(self, export: Export, shown: Step, cancel: CancelToken) -> None:
        """Fetch the base layers of an export that aren't in the store yet."""
        for image in export.images:
            for layer in image.layers:
                self._ensure(layer, shown, cancel)

    def _ensure(self, layer: ExportedLayer, shown: Step, cancel: CancelToken) -> None:
        if not layer.sources:
            return
        reference = LayerRef(
            snapshot=snapshot_of_diff(layer.diff_id),
            diff_id=layer.diff_id,
            blob=layer.descriptor,
            sources=layer.sources,
        )
        self.images.ensure_blob(reference, shown.digest, cancel)

    def push(self, export: Export, name: Reference, shown: Step, cancel: CancelToken) -> None:
        """Push an export under a name: what the registry lacks, and the name last."""
        layers = {
            layer.descriptor.digest: layer for image in export.images for layer in image.layers
        }
        manifests = [_pushed(image.manifest) for image in export.images]
        parts = _Parts(shown, {descriptor.digest for descriptor in _configs(export)})

        def ensure(descriptor: Descriptor) -> None:
            if descriptor.digest in layers:
                self._ensure(layers[descriptor.digest], shown, cancel)

        root = _pushed(export.root)
        # Equal builds push one after another: the later one finds all there, and a registry that keeps
        # links in files (as distribution does) isn't asked for one that is being written.
        lock = f"push {name.repository}@{root.descriptor.digest}"
        with (
            self.store.locks.exclusive(lock, check=cancel.check),
            shown.part("pushing layers"),
            shown.part(f"pushing manifest for {name.canonical}@{root.descriptor.digest}"),
        ):
            push(
                Client(self.transport, cancel),
                name,
                root,
                [each for each in manifests if each.descriptor.digest != root.descriptor.digest],
                self._blobs(export, layers.values(), name),
                open_blob=self.store.blobs.open,
                ensure_blob=ensure,
                on_progress=parts.progress,
            )
            pushed = [*layers, *(config.digest for config in _configs(export))]
            self.store.layers.add_sources(name.domain, name.path, pushed)

    def _blobs(
        self, export: Export, layers: Iterable[ExportedLayer], name: Reference
    ) -> Iterator[PushBlob]:
        """Give the blobs with all repositories that may have them, if somebody asks for them."""
        for layer in layers:
            named = (parse(each) for each in layer.sources if not each.startswith(LAYOUT_SCHEME))
            sources = (*(each.repository for each in named), *self._known(layer.descriptor, name))
            yield PushBlob(descriptor=layer.descriptor, sources=sources)
        for config in _configs(export):
            yield PushBlob(descriptor=config, sources=self._known(config, name))

    def _known(self, blob: Descriptor, name: Reference) -> tuple[str, ...]:
        known = self.store.layers.sources(blob.digest, name.domain)
        return tuple(f"{name.domain}/{repository}" for repository in known)


class _Parts:
    """Shows the blobs of a push as parts of a step, each from when its turn comes to its end."""

    def __init__(self, shown: Step, configs: Collection[Digest]) -> None:
        self._shown = shown
        self._configs = configs
        self._started: dict[Digest, float] = {}

    def progress(self, descriptor: Descriptor, current: int) -> None:
        """Take how many bytes of a blob are there; called from several threads, a blob's from one."""
        digest, size = descriptor.digest, descriptor.size
        started = self._started.setdefault(digest, time.time())
        kind = "config" if digest in self._configs else "layer"
        self._shown.status(
            f"pushing {kind} {digest}", current, size, started=started, is_done=current == size
        )


def _configs(export: Export) -> list[Descriptor]:
    return [image.config.descriptor for image in export.images]


def _pushed(document: Document) -> PushDocument:
    return PushDocument(descriptor=document.descriptor, data=document.data)
