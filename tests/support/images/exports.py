"""Small results to export: stores with snapshots of a few files, and images made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from polyarch.digest import Digest
from polyarch.exporter.assemble import ImageResult, assemble, assemble_index
from polyarch.exporter.layers import CompressionChoice, ExportedLayer, LayerBlobs
from polyarch.exporter.result import Export
from polyarch.images.store_place import Fetcher, StorePlace
from polyarch.oci.config import HistoryEntry, ImageConfig, RunConfig
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, linux
from polyarch.progress import CancelToken, Step, ignore_events
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerStack
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from tests.support.images.trees import plant
from tests.support.network.registry import registry_places

__all__ = ["AMD64", "ARM64", "CREATED", "Results", "make_export", "store_place"]

AMD64 = linux("amd64")
ARM64 = linux("arm64")
CREATED = 1_700_000_000.0


class Results:
    """A store in which the results of steps are made by hand."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.snapshotter = NativeSnapshotter(self.store)
        self.blobs = LayerBlobs(store=self.store, snapshotter=self.snapshotter)

    def stack(self, *layers: Mapping[str, str | None], name: str = "step") -> LayerStack:
        """Return a stack with a snapshot of these files for each layer."""
        stack = LayerStack()
        for number, files in enumerate(layers):
            snapshot = SnapshotID(f"{name}-{number}")
            if not self.snapshotter.exists(snapshot):
                record = SnapshotRecord(id=snapshot, created=CREATED + number)
                self.snapshotter.unpack(snapshot, partial(plant, files=files), record)
            stack = stack.with_layer(snapshot)
        return stack

    def export(
        self, stack: LayerStack, kind: str = "", level: str = ""
    ) -> tuple[ExportedLayer, ...]:
        """Return the layers of a stack as blobs."""
        asked = {"compression": kind, "compression-level": level}
        choice = CompressionChoice.of({key: text for key, text in asked.items() if text})
        return self.blobs.export(stack, choice, CancelToken())

    def image(self, stack: LayerStack, platform: Platform = AMD64, kind: str = "") -> ImageResult:
        """Return the image of a stack."""
        history = (HistoryEntry(created_by=f"RUN {number}") for number in range(len(stack.layers)))
        config = ImageConfig(
            platform=platform, run=RunConfig(cmd=("/bin/sh",)), history=tuple(history)
        )
        return assemble(config, self.export(stack, kind), platform)

    def place(self) -> StorePlace:
        """Return the store as a place."""
        return store_place(self.store)

    def add_documents(self, export: Export) -> Export:
        """Put the documents of an export into the store, as exporting does."""
        for document in export.documents:
            self.store.blobs.put(document.data, document.descriptor.digest)
        return export


def store_place(store: Store) -> StorePlace:
    """Return a store as a place; what is fetched is shown to nobody."""
    cancel, shown = CancelToken(), Step(ignore_events, "", Digest(""))
    places = registry_places(cancel)
    return StorePlace(fetcher=Fetcher(store=store, places=places, cancel=cancel, shown=shown))


def make_export(images: Sequence[ImageResult], *names: str) -> Export:
    """Return an export of images under names."""
    root = images[0].manifest if len(images) == 1 else assemble_index(images)
    return Export(
        root=root,
        images=tuple(images),
        names=tuple(map(parse_reference, names)),
        created=CREATED,
    )
