"""Where the software of results is listed: by polyarch, of their files, or by an image, in a step of the build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from polyarch.attest.options import AttestOptions
from polyarch.attest.statement import Predicate
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.engine.engine import Engine
from polyarch.graph.graph import GraphMaker
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken, cancellable, step
from polyarch.record import frozen
from polyarch.request.values import BuildRequest
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from polyarch.attest.sbom.scan import Scan

    Found = Mapping[str, Scan] | tuple[Predicate, ...]
else:
    Found = object
"""What was found in a result, and beside it by name; or the lists that an image has made of it."""

__all__ = ["Found", "Listing", "Opening"]


@frozen
class Listing:
    """What is to be solved for lists of software."""

    options: AttestOptions
    request: BuildRequest
    images: BaseImages
    maker: GraphMaker

    def prepared(self, lowered: list[Lowered]) -> list[Lowered]:
        """Add the steps by which an image lists what is in the results, if one is to do that.

        Raises as resolving the image does.
        """
        sbom = self.options.sbom
        if sbom is None or not sbom.generator:
            return lowered
        from polyarch.pipeline.generating import Generator  # noqa: PLC0415 few have one

        generator = Generator(
            options=sbom,
            images=self.images,
            maker=self.maker,
            ignore_cache=self.request.no_cache,
        )
        return generator.added(lowered)


@frozen
class Opening:
    """Reads the files of results."""

    engine: Engine
    images: ImageSource
    cancel: CancelToken

    def found(
        self,
        results: Sequence[tuple[Lowered, LayerStack]],
        beside: Mapping[Vertex, LayerStack],
        options: AttestOptions,
    ) -> list[Found]:
        """Return what there is to say of each result; `beside` has the layers of what is looked into with it.

        Raises InputError for lists of an image that are none.
        """
        with step(self.images.sink, "[internal] list software"), cancellable(self.cancel):
            return [
                self._listed(part, beside, options)
                if part.lister is not None
                else self._scanned(part, stack, beside)
                for part, stack in results
            ]

    def _scanned(
        self, part: Lowered, stack: LayerStack, beside: Mapping[Vertex, LayerStack]
    ) -> Found:
        from polyarch.attest.sbom.layered import (  # noqa: PLC0415 few ask for it
            Layer,
            ScanMemory,
            scan_layers,
        )

        memory = ScanMemory(self.engine.store.database)
        layer = self.engine.snapshotter.layer
        trees = {"": (stack, part.vertex)}
        for name, vertex in part.scanned.items():
            trees[name] = (beside[vertex], vertex)
        found = {}
        for name, tree in trees.items():
            layers = [Layer(name=each, opened=partial(layer, each)) for each in tree[0].snapshots]
            with self.engine.trees({part.platform: tree}, self.images, self.cancel) as (files,):
                found[name] = scan_layers(files.root, layers, memory)
        return found

    def _listed(
        self, part: Lowered, beside: Mapping[Vertex, LayerStack], options: AttestOptions
    ) -> Found:
        from polyarch.pipeline.generating import read_lists  # noqa: PLC0415 few have one

        assert part.lister is not None
        assert options.sbom is not None
        tree = {part.platform: (beside[part.lister], part.lister)}
        with self.engine.trees(tree, self.images, self.cancel) as (files,):
            return read_lists(files.root, options.sbom.generator)
