"""The caches of a build: read before it is solved, written when its outputs are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.engine.engine import Built, Engine
from polyarch.exporter.layers import CompressionChoice
from polyarch.golang.strconv import find_bool
from polyarch.graph.graph import Graph
from polyarch.oci.config import ImageConfig
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.caches import CACHES
from polyarch.request.values import BuildRequest
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyarch.caches.exporting import CacheExporter
    from polyarch.caches.importing import Imported
    from polyarch.caches.places import CachePlaces

__all__ = ["Caching", "read_caches"]

_INLINE_ARG = "BUILDKIT_INLINE_CACHE"
"""The build argument that asks for an inline cache where `--cache-to` isn't known."""


def read_caches(images: ImageSource, request: BuildRequest, cancel: CancelToken) -> Imported | None:
    """Return the records of all caches that could be read, None if none is asked for. Raises Cancelled."""
    entries = [entry for entry in request.cache_from if entry.type in CACHES]
    if not entries or request.no_cache:
        return None
    # Most builds have no caches to import or export.
    from polyarch.caches import importing, places  # noqa: PLC0415

    found = _places(places.CachePlaces, images, cancel)
    return importing.import_caches(entries, found, images.sink)


def _places(kind: type[CachePlaces], images: ImageSource, cancel: CancelToken) -> CachePlaces:
    return kind(
        places=images.places(cancel),
        others=images.caches,
        sender=images.transport.sender,
        cancel=cancel,
    )


@frozen
class Caching:
    """Writes what a request says of caches; `imported` is what was read of others."""

    engine: Engine
    images: ImageSource
    request: BuildRequest
    imported: Imported | None
    cancel: CancelToken

    @property
    def _is_inline(self) -> bool:
        asked = any(entry.type == "inline" for entry in self.request.cache_to)
        return asked or find_bool(self.request.build_args.get(_INLINE_ARG, "")) is True

    def with_inline(
        self,
        part: Lowered,
        stack: LayerStack,
        built: Built,
        choice: CompressionChoice,
        epoch: int | None,
    ) -> ImageConfig:
        """Return the config of a platform's image, with the cache of its steps if that is asked for."""
        if not self._is_inline:
            return part.config
        mine = {vertex.digest for vertex in Graph(targets=(part.vertex,)).vertices()}
        facts = (each for each in built.report.facts() if each.vertex.digest in mine)
        return self._exporter((stack,)).with_inline(part.config, facts, choice, epoch)

    def write(self, stacks: Sequence[LayerStack], built: Built) -> None:
        """Write all caches but inline ones. Raises Cancelled, and what `ignore-error=false` lets through."""
        for entry in self.request.cache_to:
            if entry.type in CACHES:
                self._exporter(stacks).run(entry, built.report.facts())

    def _exporter(self, stacks: Sequence[LayerStack]) -> CacheExporter:
        from polyarch.caches import exporting, places  # noqa: PLC0415 as above

        return exporting.CacheExporter(
            store=self.engine.store,
            snapshotter=self.engine.snapshotter,
            layers=self.engine.layers,
            places=_places(places.CachePlaces, self.images, self.cancel),
            targets=stacks,
            imported_places=self.imported.places if self.imported else {},
            sink=self.images.sink,
            cancel=self.cancel,
        )
