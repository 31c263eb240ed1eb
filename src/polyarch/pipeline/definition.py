"""A build of a graph that another program has made: what comes before `pipeline.making` where there is no Dockerfile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Protocol

from polyarch.attest.given import Given, in_order, predicates_of
from polyarch.attest.options import AttestOptions, read_options
from polyarch.attest.statement import Predicate
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Part, Sources
from polyarch.exporter.ahead import Ahead
from polyarch.exporter.forms import as_before, check_forms
from polyarch.exporter.outputs import Forms, check_outputs
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.vertex import Vertex
from polyarch.pipeline.attesting import Attesting, Noted, targets_of
from polyarch.pipeline.caching import Caching, open_caches, without_lost_layers
from polyarch.pipeline.early import pushing_early
from polyarch.pipeline.listing import Listing
from polyarch.pipeline.making import Announced, Making, Results
from polyarch.pipeline.reading import open_reading
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.remote import RemoteSources
from polyarch.worker.source_image import ImageSource
from polyarch.worker.tree import SourceTree

__all__ = ["Attestations", "Frontend", "build_definition_on"]


Attestations = Mapping[Platform, Sequence[tuple[Given, Vertex]]]
"""What a frontend attests of the result for each platform, with the trees that have it."""


class Frontend(Protocol):
    """What knows the graph."""

    def lower(self, images: BaseImages, sink: Sink) -> Sequence[Lowered]:
        """Return what is to be built, one part for each platform; images are resolved by `images`."""

    @property
    def maker(self) -> GraphMaker:
        """What makes its vertices."""

    def attested(self) -> Attestations:
        """Return what it attests itself; asked after `lower`."""

    def required(self) -> Sequence[Vertex]:
        """Return what is to be built beside the results, and is no part of them; asked after `lower`."""

    def trees(self) -> Mapping[str, SourceTree]:
        """Return the directories that the graph reads, by the names of its local ops; asked after `lower`."""


def build_definition_on(
    engine: Engine, request: BuildRequest, frontend: Frontend, sink: Sink, cancel: CancelToken
) -> BuildResult:
    """Carry out `request`, whose context is nothing, for the graph that `frontend` knows. Raises as `build_on`."""
    started = time.time_ns()
    with open_reading(engine, request, sink, cancel) as reading:
        images = engine.images(reading.sink)
        resolver = Noted(images=images.resolver(cancel, pull=request.pull))
        options = read_options(request.attestations)
        lowered = list(frontend.lower(resolver, reading.sink))
        given = frontend.attested()
        if any(each.is_list for each, _ in _all(given)):
            options = replace(options, sbom=None)
        listing = Listing(options=options, request=request, images=resolver, maker=frontend.maker)
        lowered = listing.prepared(lowered)
        request = _checked(request, lowered, options, given)
        attesting = Attesting(
            request=request,
            options=options,
            database=engine.store.database,
            dockerfile=None,
            contexts=reading.contexts(),
            resolved=resolver.resolved,
            pins=reading.remote.pins,
            started=started,
        )
        targets = targets_of(lowered, has_scans=options.sbom is not None)
        attested = (tree for _, tree in _all(given))
        # The results come first; what is built beside them is each once.
        results, scans = targets[: len(lowered)], targets[len(lowered) :]
        beside = dict.fromkeys((*scans, *attested, *frontend.required()))
        graph = Graph(targets=(*results, *beside))
        announced = Announced.of(request.outputs, reading.sink)
        if engine.caller is not None:
            engine.caller.bring(graph, reading.sink)
        attempt = _Attempt(
            engine=engine,
            request=request,
            frontend=frontend,
            images=images,
            remote=reading.remote,
            lowered=lowered,
            given=given,
            graph=graph,
            attesting=attesting,
            announced=announced,
            cancel=cancel,
        )
        return without_lost_layers(images, attempt.carry_out)


@frozen
class _Attempt:
    """A definition that was understood, to be solved, and what is made of it: more than once if caches lose layers."""

    engine: Engine
    request: BuildRequest
    frontend: Frontend
    images: ImageSource
    remote: RemoteSources
    lowered: Sequence[Lowered]
    given: Attestations
    graph: Graph
    attesting: Attesting
    announced: Announced
    cancel: CancelToken

    def carry_out(self) -> BuildResult:
        """Solve the graph, and make what was asked for of its results."""
        engine, request, images, cancel = self.engine, self.request, self.images, self.cancel
        with (
            pushing_early(request, images.places(cancel)) as early,
            Ahead(engine.layers, (), frozenset()) as ahead,
            open_caches(engine, images, request, self.graph, cancel) as session,
        ):
            sources = Sources(
                contexts=self.frontend.trees(),
                images=images,
                remote=self.remote,
                made=ahead.made,
            )
            caching = Caching(
                engine=engine, images=images, request=request, session=session, cancel=cancel
            )
            with caching.kept():
                part = Part(graph=self.graph, sources=sources, request=request, caches=session)
                built = engine.solve(part, cancel)
            results = Results.of(self.lowered, self.graph, built)
            making = Making(
                dockers=engine.docker_engines(request.outputs),
                caching=caching,
                attesting=self.attesting,
                ahead=ahead,
                early=early,
                given=_predicates(self.given, results, engine, images, cancel),
            )
            return making.carry_out(self.announced, results)


def _checked(
    request: BuildRequest, lowered: Sequence[Lowered], options: AttestOptions, given: Attestations
) -> BuildRequest:
    """Return a request with its outputs spelt out. Raises InputError for those that can't have what is to be built."""
    forms = Forms(
        platforms=tuple(each.platform for each in lowered),
        is_index=lowered[0].is_multi_platform,
        is_attested=options.is_for_files or bool(given),
        is_attested_inline=options.provenance is not None,
    )
    request = replace(request, outputs=as_before(request.outputs, forms))
    check_outputs(request.outputs, forms)
    check_forms(request.outputs, forms)
    return request


def _all(given: Attestations) -> Iterator[tuple[Given, Vertex]]:
    return chain.from_iterable(given.values())


def _predicates(
    given: Attestations, results: Results, engine: Engine, images: ImageSource, cancel: CancelToken
) -> dict[Platform, tuple[Predicate, ...]]:
    """Return what a frontend attests of each platform, read from the results beside."""
    return {
        platform: in_order(
            pair
            for each, tree in attestations
            for pair in _said(engine, images, each, (results.beside[tree], tree), cancel)
        )
        for platform, attestations in given.items()
    }


def _said(
    engine: Engine,
    images: ImageSource,
    given: Given,
    tree: tuple[LayerStack, Vertex],
    cancel: CancelToken,
) -> Iterator[tuple[Given, Predicate]]:
    """Yield what a frontend's attestation says, read from the tree that has it."""
    with engine.trees({normalize(host()): tree}, images, cancel) as (files,):
        for predicate in predicates_of(files.root, given):
            yield given, predicate
