"""The engine: one store, one runtime, one worker for the solver, in namespaces of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.engine.background import Background
from polyarch.engine.caller import Caller
from polyarch.engine.gate import EmulatorGate
from polyarch.engine.lazy import LazyPrograms
from polyarch.engine.parts import Built, Crew, Part
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
from polyarch.record import frozen, replace
from polyarch.registry.transport import Transport, open_transport
from polyarch.request.values import Output
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.snapshot.choose import LateSnapshotter
from polyarch.snapshot.leased import LeasedSnapshotter
from polyarch.snapshot.stack import LayerStack, take_apart
from polyarch.solver.facts import Gate, Observer, no_gate
from polyarch.solver.key import CacheKey
from polyarch.solver.records import Record, Records
from polyarch.solver.runner import Runner
from polyarch.solver.slots import SlotLimits
from polyarch.solver.solver import Solver
from polyarch.store.leases import Lease
from polyarch.store.results import Results
from polyarch.store.store import Store
from polyarch.why.seen import Seen
from polyarch.worker.reach import Reach
from polyarch.worker.remote import RemoteSources, remote_sources
from polyarch.worker.secrets import Secrets
from polyarch.worker.source_image import ImageSource
from polyarch.worker.worker import Result

if TYPE_CHECKING:
    from polyarch.engine.emulators import FetchedEmulators

__all__ = ["Engine", "engine_at"]


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

    def images(self, sink: Sink, reach: Reach | None = None) -> ImageSource:
        """Return where images come from, showing what it does to `sink`; `reach` has what is known of caches."""
        return ImageSource(
            store=self.store,
            snapshotter=self.snapshotter,
            transport=self.transport,
            sink=sink,
            reach=reach or Reach(),
        )

    def remote_sources(self, secrets: Secrets) -> RemoteSources:
        """Return where files of web servers and git repositories come from."""
        return remote_sources(self.store, secrets, self.environ)

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

    def solve(self, part: Part, cancel: CancelToken) -> Built:
        """Compute the results of a graph's targets. Raises what the first step to fail raises."""
        crew = self.crew(part)
        solver = self.solver([part], [crew], crew.worker, cancel, observer=crew.explaining)
        elsewhere = part.caches.elsewhere if part.caches else None
        with crew.emulated:
            solved = solver.solve(part.graph, cancel, elsewhere)
        return crew.built(solved.results, solved.report)

    def crew(self, part: Part, seen: dict[tuple[Digest, int], Seen] | None = None) -> Crew:
        """Return who carries out the steps of a part."""
        return Crew(self, part, seen)

    def solver(
        self,
        parts: Sequence[Part],
        crews: Sequence[Crew],
        runner: Runner[Result],
        cancel: CancelToken,
        *,
        observer: Observer | None = None,
        sink: Sink | None = None,
    ) -> Solver[Result]:
        """Return what solves the graph of all `parts`, of which the first one says how; `crews` are theirs.

        It tells `sink`, or else that of the first part.
        """
        first = parts[0]
        sessions = [each.caches for each in parts if each.caches is not None]
        imported: dict[CacheKey, Record] = {}
        for session in reversed(sessions):
            imported.update(session.records)
        database = self.store.database
        records = Records(database, Results(database, take_apart), imported=imported)
        # Machines need no emulators of programs.
        in_machines = all(each.emulated.in_machines for each in crews)
        is_far = any(each.is_far for each in sessions)
        graph = first.graph
        if len(parts) > 1:
            graph = Graph(targets=tuple(each for part in parts for each in part.graph.targets))
        images = first.sources.images
        return Solver(
            runner,
            records,
            self.store.locks,
            limits=SlotLimits(jobs=first.request.jobs),
            sink=sink or images.sink,
            observer=observer,
            gate=no_gate
            if in_machines
            else self.gate(graph, records, images, cancel, is_far=is_far),
        )

    def gate(
        self,
        graph: Graph,
        records: Records,
        images: ImageSource,
        cancel: CancelToken,
        *,
        is_far: bool,
    ) -> Gate:
        """Return what refuses steps that can't run here; with `is_far` any of them may be cached somewhere else."""
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
