"""The whole path of a build, top to bottom: text, graph, layers, images, index, and out.

It runs inside the engine, the process that has entered its namespaces. The command line is one;
programs get theirs from `polyarch.library`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from polyarch.attest.options import AttestOptions, read_options
from polyarch.digest import Digest
from polyarch.dockerfile.lint.linter import Finding, Linter
from polyarch.dockerfile.lowering.epoch import find_epoch
from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import BaseImages, LowerOptions
from polyarch.dockerfile.parser import Dockerfile
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.engine.parts import Part, Sources
from polyarch.exporter.ahead import Ahead, vertices_of_layers
from polyarch.exporter.annotations import annotated
from polyarch.exporter.forms import check_forms, form_of
from polyarch.exporter.outputs import IMAGE_TYPES, check_outputs
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.pipeline.attesting import Attesting, Noted, forms_of, targets_of, with_arguments
from polyarch.pipeline.caching import Caching, open_caches
from polyarch.pipeline.changed import check_wish
from polyarch.pipeline.company import ALONE, Company, Meaning
from polyarch.pipeline.listing import Listing
from polyarch.pipeline.making import Announced, Making, Results
from polyarch.pipeline.offline import without_network
from polyarch.pipeline.reading import Dates, linter_of, lower_options, open_reading, tell_findings
from polyarch.pipeline.sealing import sealing
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import (
    CancelToken,
    Sink,
    ignore_events,
)
from polyarch.record import replace
from polyarch.request.explanation import Outcome
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output
from polyarch.store.buildlogs import keeping_logs
from polyarch.worker.source_image import ImageSource

__all__ = ["build_on", "lower_all"]


def build_on(
    engine: Engine,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
    explain: Explain | None = None,
    company: Company = ALONE,
) -> BuildResult:
    """Carry out `request` on `engine`; `explain` says who else is to hear why steps ran.

    `company` are other builds that are solved with it.

    Raises what the errors module lists; nothing is exported, and no name is set, unless all platforms
    were built.
    """
    cancel = cancel or CancelToken()
    started = time.time_ns()
    request, attestations = _understood(request)
    request = without_network(request, engine.environ, sink)
    seal = sealing(request, engine.environ, cancel)
    # A request may have been put together by hand, without `make_request`.
    platforms = tuple(map(normalize, request.platforms or (host(),)))
    dockers = engine.docker_engines(request.outputs)
    options = lower_options(request, platforms, engine.environ)
    forms = forms_of(request, attestations, options, len(platforms))
    check_outputs(request.outputs, forms)
    check_forms(request.outputs, forms)
    with (
        _keeping_logs(engine, request, sink) as keeping,
        open_reading(engine, request, company.sink(keeping), cancel, company) as reading,
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
            linked=company.linked,
            places=contexts.places,
        )
        resolver = Noted(images=company.resolver(images, request, cancel))
        maker = GraphMaker()
        try:
            lowered = lower_all(dockerfile, platforms, options, resolver, maker)
        finally:
            tell_findings(lint.findings, shown, reading.sink)
        listing = Listing(options=attestations, request=request, images=resolver, maker=maker)
        lowered = listing.prepared(lowered)
        meaning = company.understood(
            Meaning(lowered=lowered, resolved=resolver.resolved, pins=reading.remote.pins)
        )
        graph = Graph(targets=targets_of(lowered, has_scans=attestations.sbom is not None))
        announced = Announced.of(request.outputs, reading.sink)
        attesting = Attesting(
            request=request,
            options=attestations,
            database=engine.store.database,
            dockerfile=dockerfile.source,
            contexts=contexts,
            resolved=meaning.resolved,
            pins=meaning.pins,
            started=started,
        )
        with (
            _ahead(engine, graph, request.outputs, options) as ahead,
            open_caches(engine, images, request, graph, cancel) as session,
            company.kept(),
        ):
            sources = Sources(
                contexts=contexts.trees, images=images, remote=reading.remote, made=ahead.made
            )
            caching = Caching(
                engine=engine, images=images, request=request, session=session, cancel=cancel
            )
            with caching.kept():
                part = Part(
                    graph=graph,
                    sources=sources,
                    request=request,
                    explain=explain or Explain(),
                    caches=session,
                )
                built = company.solve(engine, part, cancel)
            results = Results.of(lowered, graph, built)
            if announced.layers is not None and built.report.count(Outcome.RAN):
                found = _check_programs(engine, images, results, (dockerfile, request.target), lint)
                tell_findings(found, shown, reading.sink)
            company.read(reading.loader.directories)
            making = Making(
                dockers=dockers, caching=caching, attesting=attesting, ahead=ahead, seal=seal
            )
            with company.exporting():
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
    results: Results,
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


def lower_all(
    dockerfile: Dockerfile,
    platforms: Sequence[Platform],
    options: LowerOptions,
    images: BaseImages,
    maker: GraphMaker,
) -> list[Lowered]:
    """Lower the target for each platform into one graph."""
    # What there is to say of the Dockerfile is said of the first platform, as BuildKit does.
    mute = replace(options, lint=Linter.mute())
    return [
        lower(dockerfile, each, options=mute if number else options, maker=maker, images=images)
        for number, each in enumerate(platforms)
    ]
