"""A build of a graph that another program has made: what comes before `pipeline.making` where there is no Dockerfile."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from polyarch.attest.options import AttestOptions
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Part, Sources
from polyarch.exporter.ahead import Ahead
from polyarch.exporter.forms import check_forms
from polyarch.exporter.outputs import Forms, check_outputs
from polyarch.graph.graph import Graph
from polyarch.graph.location import SourceText
from polyarch.pipeline.attesting import Attesting
from polyarch.pipeline.caching import Caching, open_caches
from polyarch.pipeline.early import pushing_early
from polyarch.pipeline.making import Announced, Making, Results
from polyarch.pipeline.reading import open_reading
from polyarch.progress import CancelToken, Sink
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest
from polyarch.worker.tree import SourceTree

__all__ = ["Frontend", "build_definition_on"]


class Frontend(Protocol):
    """What knows the graph."""

    def lower(self, images: BaseImages, sink: Sink) -> Sequence[Lowered]:
        """Return what is to be built, one part for each platform; images are resolved by `images`."""

    def trees(self) -> Mapping[str, SourceTree]:
        """Return the directories that the graph reads, by the names of its local ops; asked after `lower`."""


def build_definition_on(
    engine: Engine, request: BuildRequest, frontend: Frontend, sink: Sink, cancel: CancelToken
) -> BuildResult:
    """Carry out `request`, whose context is nothing, for the graph that `frontend` knows. Raises as `build_on`.

    Nothing is attested: there is no source that it could be told from.
    """
    with open_reading(engine, request, sink, cancel) as reading:
        images = engine.images(reading.sink)
        resolver = images.resolver(cancel, pull=request.pull)
        lowered = frontend.lower(resolver, reading.sink)
        forms = Forms(platforms=len(lowered), is_index=lowered[0].is_multi_platform)
        check_outputs(request.outputs, forms)
        check_forms(request.outputs, forms)
        attesting = Attesting(
            request=request,
            options=AttestOptions(),
            database=engine.store.database,
            dockerfile=SourceText(name="", text=""),
            contexts=reading.contexts(),
            resolved=(),
            pins=reading.remote.pins,
            started=time.time_ns(),
        )
        graph = Graph(targets=tuple(each.vertex for each in lowered))
        announced = Announced.of(request.outputs, reading.sink)
        if engine.caller is not None:
            engine.caller.bring(graph, reading.sink)
        with (
            pushing_early(request, images.places(cancel)) as early,
            Ahead(engine.layers, (), frozenset()) as ahead,
            open_caches(engine, images, request, graph, cancel) as session,
        ):
            sources = Sources(
                contexts=frontend.trees(), images=images, remote=reading.remote, made=ahead.made
            )
            caching = Caching(
                engine=engine, images=images, request=request, session=session, cancel=cancel
            )
            with caching.kept():
                part = Part(graph=graph, sources=sources, request=request, caches=session)
                built = engine.solve(part, cancel)
            dockers = engine.docker_engines(request.outputs)
            making = Making(
                dockers=dockers, caching=caching, attesting=attesting, ahead=ahead, early=early
            )
            return making.carry_out(announced, Results.of(lowered, graph, built))
