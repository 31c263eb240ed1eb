"""The whole path of a build, top to bottom: text, graph, layers, images, index, and out.

It runs inside the engine, the process that has entered its namespaces. The command line is one;
programs get theirs from `polyarch.library`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from polyarch.attest.options import AttestOptions, read_options
from polyarch.dockerfile.lint.linter import Finding, Linter
from polyarch.dockerfile.lowering.epoch import find_epoch
from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import BaseImages, LowerOptions
from polyarch.dockerfile.parser import Dockerfile
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.exporter.annotations import annotated
from polyarch.exporter.forms import check_forms
from polyarch.exporter.outputs import IMAGE_TYPES, check_outputs
from polyarch.graph.graph import GraphMaker
from polyarch.pipeline.attesting import Attesting, Noted, forms_of, with_arguments
from polyarch.pipeline.changed import check_wish
from polyarch.pipeline.making import Prepared, Results, make
from polyarch.pipeline.reading import Dates, linter_of, lower_options, open_reading, tell_findings
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import (
    CancelToken,
    Sink,
    ignore_events,
)
from polyarch.record import replace
from polyarch.request.explanation import Outcome
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest
from polyarch.store.buildlogs import keeping_logs
from polyarch.worker.source_image import ImageSource

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
        prepared = Prepared(
            engine=engine,
            request=request,
            dockers=dockers,
            images=images,
            remote=reading.remote,
            trees=contexts.trees,
            attesting=Attesting(
                request=request,
                options=attestations,
                database=engine.store.database,
                dockerfile=dockerfile.source,
                contexts=contexts,
                resolved=resolver.resolved,
                pins=reading.remote.pins,
                started=started,
            ),
            cancel=cancel,
        )

        def check(results: Results) -> None:
            has_image = any(each.type in IMAGE_TYPES for each in request.outputs)
            if has_image and results.built.report.count(Outcome.RAN):
                place = (dockerfile, request.target)
                found = _check_programs(engine, images, results, place, lint)
                tell_findings(found, shown, reading.sink)
            contexts.save()

        return make(prepared, lowered, check, explain)


def _understood(request: BuildRequest) -> tuple[BuildRequest, AttestOptions]:
    """Return the request with all that its parts ask of one another, and what it wants to be attested."""
    request = replace(request, outputs=annotated(request.outputs, request.annotations))
    request = with_arguments(request)
    check_wish(request)
    return request, read_options(request.attestations)


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
