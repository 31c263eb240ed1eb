"""The caches of a build: read before it is solved, asked while it goes on, written when its outputs are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Built
from polyarch.errors import PolyarchError, RemoteError
from polyarch.exporter.layers import CompressionChoice
from polyarch.golang.strconv import find_bool
from polyarch.graph.graph import Graph
from polyarch.oci.base import PIECES
from polyarch.oci.config import ImageConfig
from polyarch.progress import CancelToken, Sink, step
from polyarch.record import frozen
from polyarch.request.caches import CACHES, CacheKind
from polyarch.request.values import BuildRequest
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.reach import Reach
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyarch.caches.exporting import CacheExporter
    from polyarch.caches.session import CacheSession
    from polyarch.request.result import CacheUse

__all__ = ["Caching", "open_caches", "without_lost", "without_lost_layers"]

_T = TypeVar("_T")

_INLINE_ARG = "BUILDKIT_INLINE_CACHE"
"""The build argument that asks for an inline cache where `--cache-to` isn't known."""
_AFTER_FAILURE = 5.0
"""Seconds that an error waits for what the steps before have made to be pushed."""


@contextmanager
def open_caches(
    engine: Engine,
    images: ImageSource,
    request: BuildRequest,
    graph: Graph,
    cancel: CancelToken,
) -> Iterator[CacheSession | None]:
    """Give the caches that a build asks, None if it asks none. What it pushes in the background ends with the block.

    Raises Cancelled, InputError.
    """
    entries = (*request.cache_from, *request.cache_to)
    if not any(entry.type in CACHES or entry.type == CacheKind.STEPS for entry in entries):
        yield None
        return
    # Most builds have no caches to import or export.
    from polyarch.caches.opening import open_session  # noqa: PLC0415

    session = open_session(engine.layers, images, request, graph, cancel)
    try:
        yield session
    finally:
        session.abandon()


def without_lost_layers(images: ImageSource, build: Callable[[], _T]) -> _T:
    """Build; and once more each time that a layer of a cache turns out not to be had, without the results that have it."""
    while True:
        try:
            return build()
        except PolyarchError as error:
            if not without_lost(images.reach, error, images.sink):
                raise


def without_lost(reach: Reach, error: PolyarchError, sink: Sink) -> bool:
    """Tell whether a build that failed would do better without a layer of a cache; if so, say that, and do without it."""
    source = reach.lose(error) if error.blob else None
    if source is None:
        return False
    name = f"importing layers from {source.removeprefix(PIECES)}"
    with suppress(RemoteError), step(sink, name):
        raise RemoteError(f"{error}; the steps that it is of run again")
    return True


@frozen
class Caching:
    """Writes what a request says of caches; `session` is what is asked of others."""

    engine: Engine
    images: ImageSource
    request: BuildRequest
    session: CacheSession | None
    cancel: CancelToken

    @property
    def _is_inline(self) -> bool:
        asked = any(entry.type == CacheKind.INLINE for entry in self.request.cache_to)
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

    def write(self, stacks: Sequence[LayerStack], built: Built) -> tuple[CacheUse, ...]:
        """Write all caches but inline ones, and return what those of single steps were good for.

        Raises Cancelled, and what `ignore-error=false` lets through.
        """
        for entry in self.request.cache_to:
            if entry.type in CACHES:
                self._exporter(stacks).run(entry, built.report.facts())
        self._save_mounts()
        return self.finish()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let the steps that were done be pushed, even if one of a later one fails in the block."""
        try:
            yield
        except PolyarchError:
            if not self.cancel.cancelled:
                with suppress(RemoteError):
                    self.finish(_AFTER_FAILURE)
            raise

    def finish(self, most: float | None = None) -> tuple[CacheUse, ...]:
        """Wait for what caches of single steps are still pushing, and tell what they were good for.

        `most` is for how many seconds, unless the request says that.
        """
        if self.session is None:
            return ()
        asked = self.request.cache_budget
        seconds = most if asked is None else asked
        return self.session.finish(seconds, self.images.sink, self.cancel.check)

    def _save_mounts(self) -> None:
        mounts = self.session.mounts if self.session else None
        if mounts is None or not mounts.used:
            return
        from polyarch.caches.opening import save_mounts  # noqa: PLC0415 as above

        save_mounts(self.engine.layers, self.images, self.request, mounts.used, self.cancel)

    def _exporter(self, stacks: Sequence[LayerStack]) -> CacheExporter:
        from polyarch.caches.exporting import CacheExporter  # noqa: PLC0415 as above
        from polyarch.caches.opening import places_of  # noqa: PLC0415 as above

        return CacheExporter(
            store=self.engine.store,
            snapshotter=self.engine.snapshotter,
            layers=self.engine.layers,
            places=places_of(self.images, self.cancel),
            targets=stacks,
            imported_places=self.session.places if self.session else {},
            sink=self.images.sink,
            cancel=self.cancel,
            is_in_reach=lambda stack: self.images.is_in_reach(stack, self.cancel),
        )
