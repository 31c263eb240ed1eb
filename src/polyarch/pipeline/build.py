"""The whole path of a build, top to bottom: text, graph, layers, images, index, and out.

It runs inside the engine, the process that has entered its namespaces. The command line is one;
programs get theirs from `polyarch.library`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from polyarch.attest.options import AttestOptions, read_options
from polyarch.digest import Digest
from polyarch.dockerfile.lint.linter import Finding, Linter
from polyarch.dockerfile.lowering.epoch import find_epoch
from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import BaseImages, LowerOptions
from polyarch.dockerfile.parser import Dockerfile
from polyarch.engine.engine import Built, Engine, Sources
from polyarch.engine.explain import Explain
from polyarch.exporter.ahead import Ahead, vertices_of_layers
from polyarch.exporter.annotations import annotated
from polyarch.exporter.assemble import assemble
from polyarch.exporter.assembled import Assembled
from polyarch.exporter.counting import counting
from polyarch.exporter.export import Exporter
from polyarch.exporter.forms import Form, check_forms, form_of
from polyarch.exporter.layers import CompressionChoice, ExportedLayer
from polyarch.exporter.outputs import IMAGE_TYPES, Engines, check_outputs, step_name
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Work
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.reads import context_reads
from polyarch.graph.vertex import Vertex
from polyarch.images.store_place import Fetcher
from polyarch.pipeline.attesting import Attesting, Noted, Said, forms_of, targets_of, with_arguments
from polyarch.pipeline.caching import Caching, open_caches
from polyarch.pipeline.changed import check_wish, find_change, is_pushed
from polyarch.pipeline.reading import Dates, linter_of, lower_options, open_reading, tell_findings
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import (
    CancelToken,
    Sink,
    Step,
    announce,
    cancellable,
    ignore_events,
    step,
)
from polyarch.record import field, frozen, replace
from polyarch.request.explanation import Outcome
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType
from polyarch.snapshot.stack import LayerStack
from polyarch.store.buildlogs import keeping_logs
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from polyarch.attest.sbom.scan import Scan

__all__ = ["build_on"]


def build_on(
    engine: Engine,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
    explain: Explain | None = None,
) -> BuildResult:
    """Carry out `request` on `engine`; `explain` says who else is to hear why steps ran.

    Raises what the errors module lists; nothing is exported, and no name is set, unless all platforms
    were built.
    """
    cancel = cancel or CancelToken()
    started = time.time_ns()
    request, attestations = _understood(request)
    # A request may have been put together by hand, without `make_request`.
    platforms = tuple(map(normalize, request.platforms or (host(),)))
    dockers = engine.docker_engines(request.outputs)
    options = lower_options(request, platforms, engine.environ)
    forms = forms_of(request, attestations, options, len(platforms))
    check_outputs(request.outputs, forms)
    check_forms(request.outputs, forms)
    with (
        _keeping_logs(engine, request, sink) as keeping,
        open_reading(engine, request, keeping, cancel) as reading,
    ):
        lint = linter_of(request)
        dockerfile, shown = reading.load(lint)
        contexts = reading.contexts()
        images = engine.images(reading.sink)
        dates = Dates(contexts=contexts, loader=reading.loader)
        options = replace(
            options,
            epoch=find_epoch(dockerfile, request.build_args, host(), dates),
            ignores=contexts.ignores,
            lint=lint,
        )
        resolver = Noted(images=images.resolver(cancel, pull=request.pull))
        try:
            lowered = _lower(dockerfile, platforms, options, resolver)
        finally:
            tell_findings(lint.findings, shown, reading.sink)
        graph = Graph(targets=targets_of(lowered, has_scans=attestations.sbom is not None))
        announced = _Announced.of(request.outputs, reading.sink)
        attesting = Attesting(
            request=request,
            options=attestations,
            database=engine.store.database,
            dockerfile=dockerfile.source,
            contexts=contexts,
            resolved=resolver.resolved,
            pins=reading.remote.pins,
            started=started,
        )
        if engine.caller is not None:
            engine.caller.bring(context_reads(graph), reading.sink)
        with (
            _ahead(engine, graph, request.outputs, options) as ahead,
            open_caches(engine, images, request, graph, cancel) as session,
        ):
            sources = Sources(
                contexts=contexts.trees, images=images, remote=reading.remote, made=ahead.made
            )
            caching = Caching(
                engine=engine, images=images, request=request, session=session, cancel=cancel
            )
            with caching.kept():
                built = engine.solve(
                    graph, sources, request, cancel, explain=explain, caches=session
                )
            results = _Results.of(lowered, graph, built)
            if announced.layers is not None and built.report.count(Outcome.RAN):
                found = _check_programs(engine, images, results, (dockerfile, request.target), lint)
                tell_findings(found, shown, reading.sink)
            contexts.save()
            making = _Making(dockers=dockers, caching=caching, attesting=attesting, ahead=ahead)
            return making.carry_out(announced, results)


def _understood(request: BuildRequest) -> tuple[BuildRequest, AttestOptions]:
    """Return the request with all that its parts ask of one another, and what it wants to be attested."""
    request = replace(request, outputs=annotated(request.outputs, request.annotations))
    request = with_arguments(request)
    check_wish(request)
    return request, read_options(request.attestations)


def _ahead(engine: Engine, graph: Graph, outputs: Iterable[Output], options: LowerOptions) -> Ahead:
    """Return what compresses the layers of images while the build goes on."""
    images = [each for each in outputs if each.type in IMAGE_TYPES]
    forms = [form_of(each, options.epoch, is_index=options.is_multi_platform) for each in images]
    wanted = vertices_of_layers(graph) if forms else frozenset[Digest]()
    return Ahead(engine.layers, (form.choice for form in forms), wanted)


def _check_programs(
    engine: Engine,
    images: ImageSource,
    results: _Results,
    place: tuple[Dockerfile, str],
    lint: Linter,
) -> tuple[Finding, ...]:
    """Look at what the images start, after something was built anew."""
    # An unchanged build has been told of it.
    from polyarch.pipeline.programs import check_programs  # noqa: PLC0415

    return check_programs(engine, images, tuple(results.pairs()), place, lint)


def _keeping_logs(
    engine: Engine, request: BuildRequest, sink: Sink
) -> AbstractContextManager[Sink]:
    """Keep what steps print, unless secrets may be in it."""
    if not request.mask_secrets:
        return nullcontext(sink)
    return keeping_logs(engine.store.root / "logs", sink)


def _lower(
    dockerfile: Dockerfile,
    platforms: Sequence[Platform],
    options: LowerOptions,
    images: BaseImages,
) -> list[Lowered]:
    """Lower the target for each platform into one graph."""
    maker = GraphMaker()
    # What there is to say of the Dockerfile is said of the first platform, as BuildKit does.
    mute = replace(options, lint=Linter.mute())
    return [
        lower(dockerfile, each, options=mute if number else options, maker=maker, images=images)
        for number, each in enumerate(platforms)
    ]


@frozen
class _Announced:
    """The outputs for which something is made, and the steps that show it, told of before the solve.

    `layers` is the step for the layers of images, if there are any.
    """

    outputs: tuple[Output, ...]
    steps: tuple[Digest, ...]
    layers: Digest | None

    @staticmethod
    def of(outputs: Sequence[Output], sink: Sink) -> _Announced:
        """Tell of the steps."""
        wanted = tuple(each for each in outputs if each.type != OutputType.CACHEONLY)
        has_image = any(each.type in IMAGE_TYPES for each in wanted)
        return _Announced(
            outputs=wanted,
            layers=announce(sink, "exporting layers") if has_image else None,
            steps=tuple(announce(sink, step_name(each)) for each in wanted),
        )


@frozen
class _Results:
    """What was built, one for each platform: what the Dockerfile means for it, its layers; how it came about.

    `beside` are the layers of what is looked into, but no result.
    """

    lowered: tuple[Lowered, ...]
    stacks: tuple[LayerStack, ...]
    built: Built
    beside: Mapping[Vertex, LayerStack] = field(default_factory=dict)

    @staticmethod
    def of(lowered: Sequence[Lowered], graph: Graph, built: Built) -> _Results:
        """Tell the results of a graph from what is beside them."""
        stacks = [result for result in built.results if isinstance(result, LayerStack)]
        count = len(lowered)
        return _Results(
            lowered=tuple(lowered),
            stacks=tuple(stacks[:count]),
            built=built,
            beside=dict(zip(graph.targets[count:], stacks[count:], strict=True)),
        )

    @property
    def is_multi_platform(self) -> bool:
        return self.lowered[0].is_multi_platform

    @property
    def epoch(self) -> int | None:
        return self.lowered[0].epoch

    def pairs(self) -> Iterator[tuple[Lowered, LayerStack]]:
        return zip(self.lowered, self.stacks, strict=True)

    def remarks(self) -> tuple[str, ...]:
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
class _Making:
    """Makes of results what was asked for, with what is needed for it."""

    dockers: Engines
    caching: Caching
    attesting: Attesting
    ahead: Ahead

    @property
    def engine(self) -> Engine:
        return self.caching.engine

    @property
    def images(self) -> ImageSource:
        return self.caching.images

    @property
    def cancel(self) -> CancelToken:
        return self.caching.cancel

    def carry_out(self, announced: _Announced, results: _Results) -> BuildResult:
        """Make all that was asked for, and tell what came of it."""
        request, places = self.caching.request, self.images.places(self.cancel)
        made = self.make(announced, results)
        changed = find_change(request, made.told, self.engine.store, places)
        self.write(announced, results, made, is_new=changed is not False)
        uses = self.caching.write(results.stacks, results.built)
        result = _result(made.told, request, results.built)
        return replace(result, caches=uses, changed=changed, provenance=made.said.told)

    def make(self, announced: _Announced, results: _Results) -> _Made:
        """Make the image of each output that holds one, and say what there is to say of it."""
        made = self._assembled(announced, results)
        said = Said()
        if self.attesting.is_wanted:
            is_cached = not results.built.report.count(Outcome.RAN)
            images = next(iter(made.values())).images if made else ()
            scans = self._scans(results) if self.attesting.options.sbom else ()
            said = self.attesting.say(results.lowered, images, scans, is_cached=is_cached)
        exports = tuple(
            made[self._form(output, results)].export(output, said.predicates)
            if output.type in IMAGE_TYPES
            else None
            for output in announced.outputs
        )
        return _Made(exports=exports, said=said)

    def write(self, announced: _Announced, results: _Results, made: _Made, *, is_new: bool) -> None:
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

    def _scans(self, results: _Results) -> list[dict[str, Scan]]:
        """Find the software in each result, and in what is beside it by name."""
        from polyarch.attest.sbom.scan import scan  # noqa: PLC0415 few ask for it

        found = []
        with step(self.images.sink, "[internal] list software"), cancellable(self.cancel):
            for part, stack in results.pairs():
                trees = {"": (stack, part.vertex)}
                for name, vertex in part.scanned.items():
                    trees[name] = (results.beside[vertex], vertex)
                mine = {}
                for name, tree in trees.items():
                    opened = self.engine.trees({part.platform: tree}, self.images, self.cancel)
                    with opened as (files,):
                        mine[name] = scan(files.root)
                found.append(mine)
        return found

    def _form(self, output: Output, results: _Results) -> Form:
        # What can't be in an image that is no index was refused before.
        return form_of(output, results.epoch, is_index=True)

    def _assembled(self, announced: _Announced, results: _Results) -> dict[Form, Assembled]:
        """Make images for each form that is wanted; layers that two have in common are made once."""
        if not announced.layers:
            return {}
        forms = [
            self._form(each, results) for each in announced.outputs if each.type in IMAGE_TYPES
        ]
        with step(self.images.sink, "exporting layers", announced.layers) as shown:
            self.ahead.finish()
            return {form: self._assemble(form, results, shown) for form in dict.fromkeys(forms)}

    def _assemble(self, form: Form, results: _Results, shown: Step) -> Assembled:
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
            return blobs.export(stack, form.choice, self.cancel)

        made = tuple(
            assemble(
                self.caching.with_inline(part, stack, results.built, form.choice, form.epoch),
                layers(part, stack),
                part.platform,
                moment=part.epoch,
                epoch=form.epoch,
                annotations=form.annotations,
                types=form.types,
            )
            for part, stack in results.pairs()
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
        """Bring the layers here that came with a cache in another form than an image has them."""
        needed = [each for each in stack.layers if self.engine.layers.needs(each, choice)]
        if needed:
            self.images.ensure_unpacked(LayerStack(layers=tuple(needed)), part.vertex, self.cancel)


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
