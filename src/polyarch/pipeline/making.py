"""What was built -> what was asked for: images, attestations, outputs, caches, and the result that tells of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from polyarch.attest.statement import Predicate
from polyarch.digest import Digest
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Built
from polyarch.exporter.ahead import Ahead
from polyarch.exporter.assemble import assemble
from polyarch.exporter.assembled import Assembled
from polyarch.exporter.counting import counting
from polyarch.exporter.export import Exporter
from polyarch.exporter.forms import Form, form_of
from polyarch.exporter.layers import CompressionChoice, ExportedLayer
from polyarch.exporter.outputs import (
    IMAGE_TYPES,
    Engines,
    is_loaded_whole,
    step_name,
)
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Work
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.images.place import Seal
from polyarch.images.registry_place import not_early
from polyarch.images.store_place import Fetcher
from polyarch.pipeline.attesting import Attesting, Said
from polyarch.pipeline.caching import Caching
from polyarch.pipeline.changed import find_change
from polyarch.pipeline.listing import Found, Opening
from polyarch.platforms import Platform
from polyarch.progress import (
    CancelToken,
    Sink,
    Step,
    announce,
    step,
)
from polyarch.record import field, frozen, replace
from polyarch.request.explanation import Outcome
from polyarch.request.outputs import is_pushed
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from polyarch.images.early import EarlyPush

__all__ = ["Announced", "Making", "Results"]


@frozen
class Announced:
    """The outputs for which something is made, and the steps that show it, told of before the solve.

    `layers` is the step for the layers of images, if there are any.
    """

    outputs: tuple[Output, ...]
    steps: tuple[Digest, ...]
    layers: Digest | None

    @staticmethod
    def of(outputs: Sequence[Output], sink: Sink) -> Announced:
        """Tell of the steps."""
        wanted = tuple(each for each in outputs if each.type != OutputType.CACHEONLY)
        has_image = any(each.type in IMAGE_TYPES for each in wanted)
        return Announced(
            outputs=wanted,
            layers=announce(sink, "exporting layers") if has_image else None,
            steps=tuple(announce(sink, step_name(each)) for each in wanted),
        )


@frozen
class Results:
    """What was built, one for each platform: what the Dockerfile means for it, its layers; how it came about.

    `beside` are the layers of what is looked into, but no result.
    """

    lowered: tuple[Lowered, ...]
    stacks: tuple[LayerStack, ...]
    built: Built
    beside: Mapping[Vertex, LayerStack] = field(default_factory=dict)

    @staticmethod
    def of(lowered: Sequence[Lowered], graph: Graph, built: Built) -> Results:
        """Tell the results of a graph from what is beside them."""
        stacks = [result for result in built.results if isinstance(result, LayerStack)]
        count = len(lowered)
        return Results(
            lowered=tuple(lowered),
            stacks=tuple(stacks[:count]),
            built=built,
            beside=dict(zip(graph.targets[count:], stacks[count:], strict=True)),
        )

    @property
    def is_multi_platform(self) -> bool:
        """Whether this is several platforms, or to be kept as if it were."""
        return self.lowered[0].is_multi_platform

    @property
    def epoch(self) -> int | None:
        """The latest time that anything new may have, in seconds."""
        return self.lowered[0].epoch

    def pairs(self) -> Iterator[tuple[Lowered, LayerStack]]:
        """Yield each platform's meaning and layers."""
        return zip(self.lowered, self.stacks, strict=True)

    def remarks(self) -> tuple[str, ...]:
        """Return what is odd about the platforms."""
        platforms = [each.platform for each in self.lowered]
        doubles = {str(each): None for each in platforms if platforms.count(each) > 1}
        return tuple(f'Duplicate platform result requested "{each}"' for each in doubles)


@frozen
class _Made:
    """What outputs hold, None for those that hold no image, and what is said of it."""

    exports: tuple[Export | None, ...]
    said: Said

    @property
    def told(self) -> Export | None:
        """The image that people are told of: that of the last output, under the names of all."""
        found = [export for export in self.exports if export is not None]
        if not found:
            return None
        names = (name for export in found for name in export.names)
        return replace(found[-1], names=tuple(dict.fromkeys(names)))


@frozen
class Making:
    """Makes of results what was asked for, with what is needed for it.

    `given` is what others attest of them; `early` sends layers while they are compressed.
    """

    dockers: Engines
    caching: Caching
    attesting: Attesting
    ahead: Ahead
    seal: Seal | None = None
    given: Mapping[Platform, tuple[Predicate, ...]] = field(default_factory=dict)
    early: EarlyPush | None = None

    @property
    def engine(self) -> Engine:
        """Who builds."""
        return self.caching.engine

    @property
    def images(self) -> ImageSource:
        """Where images come from."""
        return self.caching.images

    @property
    def cancel(self) -> CancelToken:
        """What ends it."""
        return self.caching.cancel

    def carry_out(self, announced: Announced, results: Results) -> BuildResult:
        """Make all that was asked for, and tell what came of it."""
        request, places = self.caching.request, self.images.places(self.cancel)
        made = self.make(announced, results)
        changed = find_change(request, made.told, self.engine.store, places)
        self.write(announced, results, made, is_new=changed is not False)
        uses = self.caching.write(results.stacks, results.built)
        result = _result(made.told, request, results.built)
        if result.config_digest is not None:
            is_whole = is_loaded_whole(announced.outputs, self.dockers)
            result = replace(result, is_loaded_whole=is_whole)
        return replace(result, caches=uses, changed=changed, provenance=made.said.told)

    def make(self, announced: Announced, results: Results) -> _Made:
        """Make the image of each output that holds one, and say what there is to say of it."""
        made = self._assembled(announced, results)
        said = Said()
        if self.attesting.is_wanted:
            is_cached = not results.built.report.count(Outcome.RAN)
            images = next(iter(made.values())).images if made else ()
            scans = self.found(results) if self.attesting.options.sbom else ()
            said = self.attesting.say(results.lowered, images, scans, is_cached=is_cached)
        said = said.after(self.given)
        exports = tuple(
            made[self._form(output, results)].export(output, said.predicates)
            if output.type in IMAGE_TYPES
            else None
            for output in announced.outputs
        )
        return _Made(exports=exports, said=said)

    def write(self, announced: Announced, results: Results, made: _Made, *, is_new: bool) -> None:
        """Make all outputs; those that are pushed only if the image is new."""
        # A platform that is asked for twice is twice in an index, but has one directory.
        trees = {part.platform: (stack, part.vertex) for part, stack in results.pairs()}
        work = Work(
            store=self.engine.store,
            places=self.images.places(self.cancel),
            trees=lambda: self.engine.trees(trees, self.images, self.cancel),
            epoch=results.epoch,
            is_split=results.is_multi_platform,
            sink=self.images.sink,
            cancel=self.cancel,
            engines=self.dockers,
            predicates=made.said.predicates,
            seal=self.seal,
            early=not_early if self.early is None else self.early.arrival,
        )
        exporter = Exporter(work=work, remarks=results.remarks())
        parts = zip(announced.outputs, announced.steps, made.exports, strict=True)
        for output, shown, export in parts:
            if not is_new and is_pushed(output):
                with (
                    step(self.images.sink, step_name(output), shown) as skipped,
                    skipped.part(f"nothing to push: {self.caching.request.if_changed} is this"),
                ):
                    continue
            exporter.run(output, export, shown)

    def found(self, results: Results) -> Sequence[Found]:
        """Find the software in the results."""
        opening = Opening(engine=self.engine, images=self.images, cancel=self.cancel)
        return opening.found(tuple(results.pairs()), results.beside, self.attesting.options)

    def _form(self, output: Output, results: Results) -> Form:
        # What can't be in an image that is no index was refused before.
        return form_of(output, results.epoch)

    def _assembled(self, announced: Announced, results: Results) -> dict[Form, Assembled]:
        """Make images for each form that is wanted; layers that two have in common are made once."""
        if not announced.layers:
            return {}
        images = [each for each in announced.outputs if each.type in IMAGE_TYPES]
        forms = dict.fromkeys(self._form(each, results) for each in images)
        pushed = {self._form(each, results) for each in images if is_pushed(each)}
        with step(self.images.sink, "exporting layers", announced.layers) as shown:
            if self.early is not None:
                self.early.begin()
            self.ahead.finish()
            return {
                form: self._assemble(form, results, shown, is_early=form in pushed)
                for form in forms
            }

    def _assemble(self, form: Form, results: Results, shown: Step, *, is_early: bool) -> Assembled:
        fetcher = Fetcher(
            store=self.engine.store,
            places=self.images.places(self.cancel),
            cancel=self.cancel,
            shown=shown,
        )

        def layers(part: Lowered, stack: LayerStack) -> tuple[ExportedLayer, ...]:
            self._unpack(part, stack, form.choice)
            counted = counting(shown, str(part.platform) if len(results.lowered) > 1 else "")
            blobs = replace(self.engine.layers, counted=counted, fetch=fetcher.ensure)
            if is_early and self.early is not None:
                blobs = replace(blobs, followed=self.early.followed)
            return blobs.export(stack, form.choice, self.cancel)

        # The cache in a config names the layers of the image, so they are made before.
        exported = [layers(part, stack) for part, stack in results.pairs()]
        made = tuple(
            assemble(
                self.caching.with_inline(part, stack, results.built, form.choice, form.epoch),
                exported[number],
                part.platform,
                moment=part.epoch,
                epoch=form.epoch,
                annotations=form.annotations,
                types=form.types,
            )
            for number, (part, stack) in enumerate(results.pairs())
        )
        return Assembled(
            images=made,
            is_index=results.is_multi_platform,
            created=time.time() if form.epoch is None else form.epoch,
            annotations=form.annotations,
            types=form.types,
            has_referrers=self.attesting.request.attest_as == "referrers",
        )

    def _unpack(self, part: Lowered, stack: LayerStack, choice: CompressionChoice) -> None:
        """Bring the layers here that came with a cache in another form than an image has them, and those below, which they are beside."""
        needs = [self.engine.layers.needs(each, choice) for each in stack.layers]
        if any(needs):
            count = len(needs) - needs[::-1].index(True)
            below = LayerStack(layers=stack.layers[:count])
            self.images.ensure_unpacked(below, part.vertex, self.cancel)


def _result(export: Export | None, request: BuildRequest, built: Built) -> BuildResult:
    ran, cached = built.report.count(Outcome.RAN), built.report.count(Outcome.CACHED)
    if export is None:
        return BuildResult(
            ran=ran,
            cached=cached,
            explanations=built.explanations,
            emulated=built.emulated,
            emulators=built.emulators,
        )
    single = export.images[0] if export.root == export.images[0].manifest else None
    # Of several outputs the last one is told of.
    kinds = [output.type for output in request.outputs if output.type in IMAGE_TYPES]
    return BuildResult(
        descriptor=export.reported(is_layout=kinds[-1] in {OutputType.DOCKER, OutputType.OCI}),
        config_digest=single.config.descriptor.digest if single else None,
        names=tuple(map(str, export.names)),
        manifests={
            str(image.platform): image.manifest.descriptor.digest for image in export.images
        },
        sizes={
            str(image.platform): image.config.descriptor.size
            + sum(layer.descriptor.size for layer in image.layers)
            for image in export.images
        },
        ran=ran,
        cached=cached,
        emulators=built.emulators,
        explanations=built.explanations,
        emulated=built.emulated,
    )
