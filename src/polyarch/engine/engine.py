"""The engine: one store, one runtime, one worker for the solver, in namespaces of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.engine.background import Background
from polyarch.engine.caller import Caller
from polyarch.engine.emulated import LateEmulatedSteps
from polyarch.engine.explain import Explain, Explaining, Seen
from polyarch.engine.gate import EmulatorGate
from polyarch.engine.lazy import LazyPrograms
from polyarch.errors import StoreError
from polyarch.exporter.layers import LayerBlobs
from polyarch.exporter.outputs import Engines, is_for_engine
from polyarch.exporter.result import FileTree
from polyarch.golang.json import compact
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.namespaces.userns import EngineNamespaces
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink
from polyarch.record import field, frozen, replace
from polyarch.registry.transport import Transport, open_transport
from polyarch.request.emulated import EmulatedStep
from polyarch.request.explanation import Explanation
from polyarch.request.values import BuildRequest, Output
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.snapshot.choose import LateSnapshotter
from polyarch.snapshot.leased import LeasedSnapshotter
from polyarch.snapshot.stack import LayerStack, take_apart
from polyarch.solver.records import Records
from polyarch.solver.slots import SlotLimits
from polyarch.solver.solver import Solver, SolveReport
from polyarch.store.leases import Lease
from polyarch.store.results import Results
from polyarch.store.store import Store
from polyarch.worker.remote import RemoteSources, remote_sources
from polyarch.worker.secrets import Secrets
from polyarch.worker.source_image import ImageSource
from polyarch.worker.tree import SourceTree
from polyarch.worker.worker import Made, Result, Worker, pass_over

if TYPE_CHECKING:
    from polyarch.caches.session import CacheSession
    from polyarch.engine.emulators import FetchedEmulators
    from polyarch.runtime.foreign import Emulation
    from polyarch.worker.exec import StepRunner

__all__ = ["Built", "Engine", "Sources", "engine_at"]


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
class Built:
    """The results of a graph's targets, in their order, what it took, why steps ran, and how emulated ones did.

    `emulators` says by what steps were emulated, by platform.
    """

    results: tuple[Result, ...]
    report: SolveReport
    explanations: tuple[Explanation, ...]
    emulated: tuple[EmulatedStep, ...] = ()
    emulators: Mapping[str, str] = field(default_factory=dict)


@frozen
class Engine:
    """What builds and runs here. Made by `engine_at`, gone when its block is left.

    `caller` is who is asked for what a build needs beside its request, if that isn't this machine's user.
    """

    store: Store
    snapshotter: LeasedSnapshotter
    programs: LazyPrograms
    layers: LayerBlobs
    transport: Transport
    environ: Mapping[str, str]
    background: Background
    caller: Caller | None = None

    @contextmanager
    def for_caller(self, caller: Caller) -> Iterator[Engine]:
        """Give an engine for one build of somebody else: what that uses stays leased as long as the block lasts."""
        with (
            self.store.leases.hold() as lease,
            self.transport.known_by(caller.credentials) as transport,
        ):
            snapshotter = self.snapshotter.leased_by(lease)
            yield replace(
                self,
                snapshotter=snapshotter,
                layers=replace(self.layers, snapshotter=snapshotter),
                transport=transport,
                caller=caller,
            )
            _note_use(self.store, lease)

    def is_native(self, platform: Platform) -> bool:
        """Tell whether programs of a platform run here without an emulator."""
        # Only steps that run are asked about.
        from polyarch.emulation import facts, probe  # noqa: PLC0415

        return probe.runs_natively(platform.architecture, facts.Facts(self.store.root))

    def emulators(self, images: ImageSource, cancel: CancelToken) -> FetchedEmulators:
        """Return what knows which platforms can be emulated, and fetches emulators that are missing."""
        # Builds with native steps only need none.
        from polyarch.engine.emulators import FetchedEmulators  # noqa: PLC0415

        return FetchedEmulators(
            foreign=self.programs.get().foreign,
            images=images,
            cancel=cancel,
            environ=self.environ,
        )

    def images(self, sink: Sink) -> ImageSource:
        """Return where images come from, showing what it does to `sink`."""
        return ImageSource(
            store=self.store, snapshotter=self.snapshotter, transport=self.transport, sink=sink
        )

    def remote_sources(self, secrets: Secrets) -> RemoteSources:
        """Return where files of web servers and git repositories come from."""
        return remote_sources(self.store, secrets)

    def docker_engines(self, outputs: Sequence[Output]) -> Engines:
        """Return what outputs are to be loaded into by docker's contexts, as far as there is anything.

        Podman is asked where no engine of docker's listens and nobody has chosen one.

        Raises MachineError if one that the user chose doesn't listen.
        """
        wanted = {each.attributes.get("context", "") for each in outputs if is_for_engine(each)}
        if not wanted:
            return {}
        from polyarch.engine.loading import find_engine  # noqa: PLC0415 only for --load

        found = {context: find_engine(self.environ, context) for context in wanted}
        return {context: engine for context, engine in found.items() if engine is not None}

    def keep(self, name: Reference, root: Descriptor) -> None:
        """Let a name of the local store stand for an image whose documents are in the store."""
        self.store.refs.set(name.canonical, compact(root.to_json()).decode())

    @contextmanager
    def trees(
        self,
        results: Mapping[Platform, tuple[LayerStack, Vertex]],
        images: ImageSource,
        cancel: CancelToken,
    ) -> Iterator[tuple[FileTree, ...]]:
        """Give the files of results, one tree for each platform."""
        with ExitStack() as resources:
            trees = []
            for platform, (stack, vertex) in results.items():
                images.ensure_unpacked(stack, vertex, cancel)
                root = resources.enter_context(self.snapshotter.view(stack.snapshots))
                trees.append(FileTree(platform=platform, root=root))
            yield tuple(trees)

    def solve(
        self,
        graph: Graph,
        sources: Sources,
        request: BuildRequest,
        cancel: CancelToken,
        *,
        explain: Explain | None = None,
        caches: CacheSession | None = None,
    ) -> Built:
        """Compute the results of the graph's targets, as `request` says how.

        `explain` says who else is to hear why steps ran; `caches` are those of others. Raises what the
        first step to fail raises.
        """
        images = sources.images
        emulated = LateEmulatedSteps(request, self.environ, self.programs, images)
        emulators: dict[str, str] = {}

        def note_emulation(platform: Platform, emulation: Emulation) -> None:
            emulators[str(platform)] = emulation.description

        def steps() -> StepRunner:
            return self.programs.get().step_runner(
                images,
                sources.remote.secrets,
                emulated,
                note_emulation,
                caches.mounts if caches else None,
            )

        worker = Worker(
            snapshotter=self.snapshotter,
            images=images,
            steps=steps,
            contexts=sources.contexts,
            remote=sources.remote,
            is_native=self.is_native,
            place=self.store.root,
            copies=self.store.copies,
            imported_places=caches.places if caches else {},
            made=sources.made,
        )
        database = self.store.database
        records = Records(
            database,
            Results(database, take_apart),
            imported=caches.records if caches else {},
        )
        seen = Seen(graph=graph, store=self.store, worker=worker, sink=images.sink)
        explaining = Explaining(explain or Explain(), request, seen)
        solver: Solver[Result] = Solver(
            worker,
            records,
            self.store.locks,
            limits=SlotLimits(jobs=request.jobs),
            sink=images.sink,
            observer=explaining,
            gate=(
                (lambda _steps: None)  # machines need no emulators of programs
                if emulated.in_machines
                else self._gate(graph, records, images, cancel, caches)
            ),
        )
        with emulated:
            solved = solver.solve(graph, cancel, caches.elsewhere if caches else None)
        return Built(
            results=solved.results,
            report=solved.report,
            explanations=explaining.solved(),
            emulated=emulated.checked(),
            emulators=emulators,
        )

    def _gate(
        self,
        graph: Graph,
        records: Records,
        images: ImageSource,
        cancel: CancelToken,
        caches: CacheSession | None,
    ) -> EmulatorGate:
        # Somebody far away may know any step, which is found out one by one.
        is_far = caches is not None and caches.is_far
        return EmulatorGate(
            graph,
            is_native=self.is_native,
            foreign=lambda: self.emulators(images, cancel),
            knows=(lambda _op: True) if is_far else records.knows,
        )


@contextmanager
def engine_at(
    root: Path,
    namespaces: EngineNamespaces,
    spawner: Spawner,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Engine]:
    """Open the store at `root` and get ready to build; to be called in the engine.

    The spawner ends with it, and so is the process to do. What else runs programs is made when the first
    of them is run. Raises StoreError.
    """
    with ExitStack() as stack:
        store = stack.enter_context(Store(root, ends=True))
        background = Background(store, environ)
        stack.callback(background.finish)
        store.blobs.on_large = background.grew
        stack.callback(spawner.close)
        programs = LazyPrograms(
            store=store, namespaces=namespaces, spawner=spawner, environ=environ
        )
        stack.callback(programs.close)
        lease = stack.enter_context(store.leases.hold())
        stack.callback(_note_use, store, lease)
        chosen = LateSnapshotter(store, environ.get("POLYARCH_SNAPSHOTTER", "auto"))
        snapshotter = LeasedSnapshotter(chosen, lease, background.grew)
        transport = stack.enter_context(open_transport(environ))
        yield Engine(
            store=store,
            snapshotter=snapshotter,
            programs=programs,
            layers=LayerBlobs(store=store, snapshotter=snapshotter),
            transport=transport,
            environ=environ,
            background=background,
        )


def _note_use(store: Store, lease: Lease) -> None:
    """Count a use of every snapshot that was looked for: by that the collector ranks them.

    Uses within a few minutes are counted once, so that an unchanged build, again, writes nothing.
    """
    # What the command did matters more: on a full disk this fails, too.
    with suppress(StoreError):
        store.snapshots.touch(lease.held)
