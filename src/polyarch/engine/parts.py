"""What one request has solved, and who carries it out: alone, or as a part of a graph that several requests share."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.engine.emulated import LateEmulatedSteps
from polyarch.engine.explain import Explain, Explaining
from polyarch.engine.explain import Seen as SeenByAll
from polyarch.graph.graph import Graph
from polyarch.platforms import Platform
from polyarch.record import field, frozen
from polyarch.request.emulated import EmulatedStep
from polyarch.request.explanation import Explanation
from polyarch.request.values import BuildRequest
from polyarch.solver.solver import SolveReport
from polyarch.why.seen import Seen
from polyarch.worker.remote import RemoteSources
from polyarch.worker.source_image import ImageSource
from polyarch.worker.tree import SourceTree
from polyarch.worker.worker import Made, Result, Worker, pass_over

if TYPE_CHECKING:
    from polyarch.caches.session import CacheSession
    from polyarch.engine.engine import Engine
    from polyarch.runtime.foreign import Emulation
    from polyarch.worker.exec import StepRunner
    from polyarch.worker.work import Left

__all__ = ["Built", "Crew", "Part", "Sources"]


@frozen
class Sources:
    """Where the sources of a graph come from: build contexts by name, images, and other machines.

    `remote` has the secrets of the request, those of its steps, too. `made` is told of each result as its step ends,
    from any thread.
    """

    contexts: Mapping[str, SourceTree]
    images: ImageSource
    remote: RemoteSources
    made: Made = pass_over


@frozen
class Part:
    """What one request has solved: its graph, and where the graph's sources come from.

    `explain` says who else is to hear why steps ran; `caches` are those of others. `left` is told of what steps that fail
    have left, in the place of the engine's caller.
    """

    graph: Graph
    sources: Sources
    request: BuildRequest
    explain: Explain = field(default_factory=Explain)
    caches: CacheSession | None = None
    left: Left | None = None


@frozen
class Built:
    """The results of a graph's targets, in their order, what it took, why steps ran, and how emulated ones did.

    `emulators` says by what steps were emulated, by platform.
    """

    results: tuple[Result, ...]
    report: SolveReport
    explanations: tuple[Explanation, ...] = ()
    emulated: tuple[EmulatedStep, ...] = ()
    emulators: Mapping[str, str] = field(default_factory=dict)


class Crew:
    """Who carries out the steps of a part, and who tells of them.

    What steps have read by content is kept in `seen`, which several crews may have in common.
    """

    def __init__(
        self, engine: Engine, part: Part, seen: dict[tuple[Digest, int], Seen] | None = None
    ) -> None:
        sources = part.sources
        self.emulators: dict[str, str] = {}
        self.emulated = LateEmulatedSteps(
            part.request, engine.environ, engine.programs, sources.images
        )
        self._engine = engine
        self._part = part
        self._lock = threading.Lock()
        self._runner: StepRunner | None = None
        self.worker = Worker(
            snapshotter=engine.snapshotter,
            images=sources.images,
            steps=self._steps,
            contexts=sources.contexts,
            remote=sources.remote,
            is_native=engine.is_native,
            place=engine.store.root,
            copies=engine.store.copies,
            imported_places=part.caches.places if part.caches else {},
            seen={} if seen is None else seen,
            made=sources.made,
        )
        told = SeenByAll(
            graph=part.graph, store=engine.store, worker=self.worker, sink=sources.images.sink
        )
        self.explaining = Explaining(part.explain, part.request, told)

    def built(self, results: Sequence[Result], report: SolveReport) -> Built:
        """Return what came of the part. Raises StepFailed if results depend on how steps were emulated."""
        return Built(
            results=tuple(results),
            report=report,
            explanations=self.explaining.solved(),
            emulated=self.emulated.checked(),
            emulators=self.emulators,
        )

    def _steps(self) -> StepRunner:
        """Return what runs steps: one for all, as it knows what others have had. Made when the first is there."""
        with self._lock:
            self._runner = self._runner or self._step_runner()
            return self._runner

    def _step_runner(self) -> StepRunner:
        sources, caches, caller = self._part.sources, self._part.caches, self._engine.caller
        return self._engine.programs.get().step_runner(
            sources.images,
            sources.remote,
            self.emulated,
            self._note_emulation,
            caches.mounts if caches else None,
            self._part.left or (caller.left if caller else None),
        )

    def _note_emulation(self, platform: Platform, emulation: Emulation) -> None:
        self.emulators[str(platform)] = emulation.description
