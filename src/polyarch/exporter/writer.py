"""What all writers of outputs work with, and what a writer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from polyarch.attest.statement import Predicate
from polyarch.exporter.layers import ExportedLayer
from polyarch.exporter.outputs import Engines
from polyarch.exporter.result import Export, FileTree
from polyarch.images.place import Seal
from polyarch.images.places import Places
from polyarch.images.registry_place import Early, not_early
from polyarch.images.store_place import Fetcher, StorePlace
from polyarch.oci.base import is_at_registry
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink, Step
from polyarch.record import field, frozen
from polyarch.request.values import Output
from polyarch.store.store import Store

__all__ = ["Work", "Writer"]


@frozen
class Work:
    """What outputs of one build are written from. `places` are where images are.

    `trees` gives the files of each platform. `epoch` is the time of all files in outputs of files, in seconds;
    None leaves them their own. `predicates` are what is attested of each platform. `is_split` says that each platform has a directory of its own, unless
    the output says otherwise. `seal` signs what is pushed. `early` knows which blobs were sent while they were compressed.
    """

    store: Store
    places: Places
    trees: Callable[[], AbstractContextManager[Sequence[FileTree]]]
    sink: Sink
    cancel: CancelToken
    epoch: int | None = None
    is_split: bool = False
    engines: Engines = field(default_factory=dict)
    predicates: Mapping[Platform, Sequence[Predicate]] = field(default_factory=dict)
    seal: Seal | None = None
    early: Early = not_early

    def source(self, export: Export, shown: Step) -> StorePlace:
        """Return where an export is: in the store, but for base layers that nobody has read."""
        fetcher = Fetcher(store=self.store, places=self.places, cancel=self.cancel, shown=shown)
        return StorePlace(fetcher=fetcher, sources=export.sources)

    def ensure(self, export: Export, shown: Step) -> None:
        """Fetch the base layers that aren't in the store yet."""
        self._fetch(export, shown, lambda layer: bool(layer.sources))

    def keep_cached(self, export: Export, shown: Step) -> None:
        """Fetch layers that lie in a cache which may not be there, or not for everybody, when the image is used."""
        self._fetch(export, shown, _is_fleeting)

    def _fetch(
        self, export: Export, shown: Step, is_wanted: Callable[[ExportedLayer], bool]
    ) -> None:
        fetcher = self.source(export, shown).fetcher
        for layer in (each for image in export.images for each in image.layers):
            if is_wanted(layer):
                fetcher.ensure(layer.descriptor, layer.sources)

    def size(self, export: Export) -> int:
        """Return how many bytes the blobs of an export have."""
        return sum(map(self.store.blobs.size, export.digests))


def _is_fleeting(layer: ExportedLayer) -> bool:
    """Whether a layer came with a cache that isn't at a registry."""
    return layer.created is not None and not all(map(is_at_registry, layer.sources))


class Writer(ABC):
    """Writes outputs of one kind."""

    def __init__(self, work: Work) -> None:
        self.work = work

    @abstractmethod
    def write(self, output: Output, export: Export | None, shown: Step) -> None:
        """Write an output. `export` is there for the types that hold an image; its documents are in the store."""
