"""A build for a client that can be carried out: what the client lends to it, and what there is of it here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from polyarch.digest import Digest
from polyarch.engine.engine import Engine
from polyarch.graph.graph import Graph
from polyarch.oci.config import ImageConfig
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.build import build_on
from polyarch.pipeline.definition import build_definition_on
from polyarch.pipeline.reading import Reading
from polyarch.pipeline.recorded import recorded
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output
from polyarch.serve.asking import Client
from polyarch.serve.caches import ClientCaches
from polyarch.serve.contexts import LocalContexts
from polyarch.serve.definitions import Definitions, LLBFrontend
from polyarch.serve.heeding import Heeding
from polyarch.serve.lending import LentAgents, LentCredentials, LentSecrets
from polyarch.serve.policies import Policy
from polyarch.serve.promises import Promise
from polyarch.store.blobs import Blobs
from polyarch.worker.remote import RemoteSources
from polyarch.worker.work import Left

__all__ = ["Lender", "Sources", "Work"]

D = TypeVar("D", bound=Definitions)


@frozen
class Lender:
    """What a client lends to a build, as `polyarch.engine.caller.Caller`."""

    secrets: LentSecrets
    agents: LentAgents
    credentials: LentCredentials
    contexts: LocalContexts
    policy: Policy | None = None
    left: Left | None = None

    def bring(self, graph: Graph, sink: Sink) -> None:
        """See Caller."""
        if self.policy is not None:
            self.policy.check(graph)
        self.contexts.bring(graph, sink)


@frozen
class Work:
    """A build that can be carried out."""

    promise: Promise
    engine: Engine
    client: Client
    request: BuildRequest
    caches: ClientCaches
    contexts: LocalContexts
    bring_result: Callable[[str], str]
    policy: Policy | None = None

    def definitions(self, kind: type[D]) -> D:
        """Return what reads definitions."""
        return kind(
            self.promise.request,
            self.contexts,
            self.caches,
            self.engine.store.stat_index,
            self.bring_result,
            self.engine.environ,
            self.policy,
            self.promise.job.pins,
        )

    def carry_out(
        self, outputs: tuple[Output, ...], sink: Sink, company: Heeding | None = None
    ) -> BuildResult:
        """Build, with these outputs."""
        company = company or Heeding()
        company.policy = self.policy
        asked, cancel = replace(self.request, outputs=outputs), self.promise.job.cancel
        if self.promise.request.frontend:
            return build_on(self.engine, asked, sink=sink, cancel=cancel, company=company)
        return build_definition_on(self.engine, asked, self.definitions(LLBFrontend), sink, cancel)

    def recorded(
        self, outputs: tuple[Output, ...], sink: Sink, build: Callable[[Sink], BuildResult]
    ) -> BuildResult:
        """Have `build` build; a record is kept unless the client says that nobody is to know."""
        if self.promise.request.is_internal:
            return build(sink)
        return recorded(self.engine, replace(self.request, outputs=outputs), sink, build)


@frozen
class Sources:
    """Where sources are looked up for a client, as `polyarch.serve.metadata.Known`."""

    work: Work
    reading: Reading
    cancel: CancelToken

    def image(self, name: str, platform: Platform, *, pull: bool) -> tuple[Digest, ImageConfig]:
        """See Known."""
        return self._resolved(parse_reference(name).canonical, platform, pull=pull)

    def layout(self, address: str, store: str, platform: Platform) -> tuple[Digest, ImageConfig]:
        """See Known."""
        return self._resolved(self.work.caches.bring_layout(address, store), platform)

    def _resolved(
        self, name: str, platform: Platform, *, pull: bool = False
    ) -> tuple[Digest, ImageConfig]:
        images = self.work.engine.images(self.reading.sink)
        image = images.resolver(self.cancel, pull=pull).resolve(name, platform)
        return image.root or image.digest, image.config

    def pin(self, url: str, digest: Digest) -> None:
        """See Known."""
        self.work.promise.job.pins[url] = digest

    @property
    def remote(self) -> RemoteSources:
        """See Known."""
        return self.reading.remote

    @property
    def blobs(self) -> Blobs:
        """See Known."""
        return self.work.engine.store.blobs
