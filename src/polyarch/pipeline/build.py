"""The whole path of a build, top to bottom: text, graph, layers, images, index, and out.

It runs inside the engine, the process that has entered its namespaces. The command line is one;
programs get theirs from `polyarch.library`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.engine.parts import Part, Sources
from polyarch.exporter.ahead import Ahead, vertices_of_layers
from polyarch.exporter.forms import form_of
from polyarch.exporter.outputs import IMAGE_TYPES
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.pipeline.asked import Asked, read_request
from polyarch.pipeline.attesting import Attesting, Noted, targets_of
from polyarch.pipeline.caching import Caching, open_caches, without_lost_layers
from polyarch.pipeline.company import ALONE, Company, Meaning
from polyarch.pipeline.early import pushing_early
from polyarch.pipeline.listing import Listing
from polyarch.pipeline.making import Announced, Making, Results
from polyarch.pipeline.meaning import ReadDockerfile, read_dockerfile
from polyarch.pipeline.reading import Reading, open_reading, tell_findings
from polyarch.progress import (
    CancelToken,
    Sink,
    ignore_events,
)
from polyarch.record import frozen, replace
from polyarch.request.explanation import Outcome
from polyarch.request.outputs import is_pushed
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output
from polyarch.store.buildlogs import keeping_logs
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from polyarch.images.early import EarlyPush

__all__ = ["build_on"]


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
    asked = read_request(engine, request, sink, cancel)
    with (
        _keeping_logs(engine, asked.request, sink) as keeping,
        open_reading(engine, asked.request, company.sink(keeping), cancel, company) as reading,
    ):
        build = _Build(
            engine=engine,
            asked=asked,
            reading=reading,
            images=engine.images(reading.sink, company.reach),
            cancel=cancel,
            company=company,
        )
        return build.carry_out(build.understand(), explain or Explain())


@frozen
class _Understood:
    """What the Dockerfile means, and the graph that leads to it; attestations may ask for more than it says."""

    read: ReadDockerfile
    lowered: Sequence[Lowered]
    meaning: Meaning
    graph: Graph


@frozen
class _Build:
    """A build whose Dockerfile and contexts are being read."""

    engine: Engine
    asked: Asked
    reading: Reading
    images: ImageSource
    cancel: CancelToken
    company: Company

    def understand(self) -> _Understood:
        """Read the Dockerfile, and lower it for all platforms into one graph."""
        asked, reading, company = self.asked, self.reading, self.company
        request, attestations = asked.request, asked.attestations
        resolver = Noted(
            images=reading.guarded.images(company.resolver(self.images, request, self.cancel))
        )
        maker = GraphMaker()
        options = replace(asked.options, linked=company.linked)
        read = read_dockerfile(reading, asked.platforms, options, resolver, maker)
        listing = Listing(options=attestations, request=request, images=resolver, maker=maker)
        lowered = listing.prepared(read.lowered)
        meaning = company.understood(
            Meaning(lowered=lowered, resolved=resolver.resolved, pins=reading.remote.pins)
        )
        graph = Graph(targets=targets_of(lowered, has_scans=attestations.sbom is not None))
        reading.guarded.check_graph(graph)
        return _Understood(read=read, lowered=lowered, meaning=meaning, graph=graph)

    def carry_out(self, understood: _Understood, explain: Explain) -> BuildResult:
        """Solve the graph, and make what was asked for of its results."""
        announced = Announced.of(self.asked.request.outputs, self.reading.sink)
        if self.engine.caller is not None:
            self.engine.caller.bring(understood.graph, self.reading.sink)
        attempt = partial(self._attempt, understood, announced, explain)
        # One of several doesn't begin anew by itself: see `bake`.
        return attempt() if self.company.has_others else without_lost_layers(self.images, attempt)

    def _attempt(
        self, understood: _Understood, announced: Announced, explain: Explain
    ) -> BuildResult:
        engine, request, graph = self.engine, self.asked.request, understood.graph
        attesting = self._attesting(understood)
        with (
            pushing_early(request, self.images.places(self.cancel)) as early,
            _ahead(engine, graph, request.outputs, understood.read.options, early) as ahead,
            open_caches(engine, self.images, request, graph, self.cancel) as session,
            self.company.kept(),
        ):
            caching = Caching(
                engine=engine,
                images=self.images,
                request=request,
                session=session,
                cancel=self.cancel,
            )
            with caching.kept():
                sources = Sources(
                    contexts=understood.read.contexts.trees,
                    images=self.images,
                    remote=self.reading.remote,
                    made=ahead.made,
                )
                part = Part(
                    graph=graph, sources=sources, request=request, explain=explain, caches=session
                )
                built = self.company.solve(engine, part, self.cancel)
            results = Results.of(understood.lowered, graph, built)
            if announced.layers is not None and built.report.count(Outcome.RAN):
                self._check_programs(understood, results)
            self.company.read(self.reading.loader.directories)
            making = Making(
                dockers=self.asked.dockers,
                caching=caching,
                attesting=attesting,
                ahead=ahead,
                seal=self.asked.seal,
                early=early,
            )
            with self.company.exporting():
                return making.carry_out(announced, results)

    def _attesting(self, understood: _Understood) -> Attesting:
        return Attesting(
            request=self.asked.request,
            options=self.asked.attestations,
            database=self.engine.store.database,
            dockerfile=understood.read.dockerfile.source,
            contexts=understood.read.contexts,
            resolved=understood.meaning.resolved,
            pins=understood.meaning.pins,
            started=self.asked.started,
        )

    def _check_programs(self, understood: _Understood, results: Results) -> None:
        """Look at what the images start, after something was built anew."""
        # An unchanged build has been told of it.
        from polyarch.pipeline.programs import check_programs  # noqa: PLC0415

        place = understood.read.dockerfile, self.asked.request.target
        lint = understood.read.options.lint
        found = check_programs(self.engine, self.images, tuple(results.pairs()), place, lint)
        tell_findings(found, understood.read.shown, self.reading.sink)


def _ahead(
    engine: Engine,
    graph: Graph,
    outputs: Iterable[Output],
    options: LowerOptions,
    early: EarlyPush | None,
) -> Ahead:
    """Return what compresses the layers of images while the build goes on."""
    images = [each for each in outputs if each.type in IMAGE_TYPES]
    forms = [form_of(each, options.epoch) for each in images]
    wanted = vertices_of_layers(graph) if forms else frozenset[Digest]()
    blobs = engine.layers
    if early is not None and all(map(is_pushed, images)):
        blobs = replace(blobs, followed=early.followed)
    return Ahead(blobs, (form.choice for form in forms), wanted)


def _keeping_logs(
    engine: Engine, request: BuildRequest, sink: Sink
) -> AbstractContextManager[Sink]:
    """Keep what steps print, unless secrets may be in it."""
    if not request.mask_secrets:
        return nullcontext(sink)
    return keeping_logs(engine.store.root / "logs", sink)
