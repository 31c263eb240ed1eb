"""This machine as a node: one store, one runtime, one solver's hands, in the engine's namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.errors import StoreError
from polyarch.exporter.export import Engines, is_for_engine
from polyarch.exporter.layers import LayerBlobs
from polyarch.exporter.result import FileTree
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.namespaces.userns import EngineNamespaces
from polyarch.node.carrier import RegistryCarrier
from polyarch.node.gate import Gate
from polyarch.node.inputs import Contexts
from polyarch.node.lazy import LazyHands
from polyarch.node.telling import Telling
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.encode import compact
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import load_hosts
from polyarch.registry.remote import Registries
from polyarch.registry.transport import Transport
from polyarch.request import Output
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.snapshot.choose import open_snapshotter
from polyarch.snapshot.leased import LeasedSnapshotter
from polyarch.snapshot.snapshotter import Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.records import Records
from polyarch.solver.slots import SlotLimits
from polyarch.solver.solver import Solved, Solver
from polyarch.store.leases import Lease
from polyarch.store.store import Store
from polyarch.worker.remote import RemoteSources, remote_sources
from polyarch.worker.secrets import Secrets
from polyarch.worker.source_image import ImageSource
from polyarch.worker.worker import Result, Worker

if TYPE_CHECKING:
    from polyarch.worker.exec import StepRunner

__all__ = ["LocalNode", "open_local_node", "open_transport"]


@frozen
class LocalNode:
    """What builds and runs here. Made by `open_local_node`, gone when its block is left."""

    store: Store
    snapshotter: Snapshotter
    hands: LazyHands
    layers: LayerBlobs
    remote: Registries
    environ: Mapping[str, str]

    def is_native(self, platform: Platform) -> bool:
        """Tell whether programs of a platform run here without an emulator."""
        # Only steps that run are asked about.
        from polyarch.emulation.facts import Facts  # noqa: PLC0415
        from polyarch.emulation.probe import runs_natively  # noqa: PLC0415

        return runs_natively(platform.architecture, Facts(self.store.root))

    def images(self, sink: Sink) -> ImageSource:
        """Return where images come from, showing what it does to `sink`."""
        return ImageSource(
            store=self.store, snapshotter=self.snapshotter, remote=self.remote, sink=sink
        )

    def remote_sources(self, secrets: Secrets) -> RemoteSources:
        """Return where files of web servers and git repositories come from."""
        return remote_sources(self.store, secrets)

    def carrier(self, images: ImageSource) -> RegistryCarrier:
        """Return what brings blobs here and images away."""
        return RegistryCarrier(store=self.store, images=images, transport=self.remote.transport)

    def docker_engines(self, outputs: Sequence[Output]) -> Engines:
        """Return docker's engines that outputs are to be loaded into, as far as there are any.

        Raises MachineError if one that the user chose doesn't listen.
        """
        wanted = {each.attributes.get("context", "") for each in outputs if is_for_engine(each)}
        if not wanted:
            return {}
        from polyarch.node.docker import find_engine  # noqa: PLC0415 only for --load

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
        contexts: Contexts,
        images: ImageSource,
        cancel: CancelToken,
        *,
        remote: RemoteSources,
        telling: Telling | None = None,
        jobs: int = 0,
    ) -> Solved[Result]:
        """Compute the results of the graph's targets. Raises what the first step to fail raises.

        `remote` has the secrets of the request; `telling` gathers why steps ran.
        """

        def steps() -> StepRunner:
            return self.hands.get().step_runner(
                self.store, self.snapshotter, remote.secrets, images.sink
            )

        worker = Worker(
            snapshotter=self.snapshotter,
            images=images,
            steps=steps,
            contexts=contexts.trees,
            remote=remote,
            is_native=self.is_native,
            place=self.store.root,
            copies=self.store.copies,
        )
        records = Records(self.store.database)
        observer = telling.observer(graph, self.store, worker, images.sink) if telling else None
        solver: Solver[Result] = Solver(
            worker,
            records,
            self.store.locks,
            limits=SlotLimits(jobs=jobs),
            sink=images.sink,
        )
        solver.observer = observer
        solver.gate = Gate(
            graph,
            is_native=self.is_native,
            foreign=lambda: self.hands.get().foreign,
            knows=records.knows,
        )
        return solver.solve(graph, cancel)


def open_transport(environ: Mapping[str, str] = os.environ) -> Transport:
    """Return what speaks to registries, with the user's settings and credentials; a context manager."""
    return Transport(load_hosts(environ), Credentials(environ))


@contextmanager
def open_local_node(
    root: Path, namespaces: EngineNamespaces, environ: Mapping[str, str] = os.environ
) -> Iterator[LocalNode]:
    """Open the store at `root` and get ready to build; to be called in the engine, without threads.

    Raises StoreError, NoRuntime.
    """
    with ExitStack() as stack:
        store = stack.enter_context(Store(root))
        # The process that starts steps is forked now, while there are no threads; the rest of what
        # runs programs is made when the first of them is run.
        spawner = Spawner()
        stack.callback(spawner.close)
        hands = LazyHands(store=store, namespaces=namespaces, spawner=spawner, environ=environ)
        stack.callback(hands.close)
        lease = stack.enter_context(store.leases.hold())
        stack.callback(_note_use, store, lease)
        chosen = open_snapshotter(store, environ.get("POLYARCH_SNAPSHOTTER", "auto"))
        snapshotter = LeasedSnapshotter(chosen, lease)
        transport = stack.enter_context(open_transport(environ))
        yield LocalNode(
            store=store,
            snapshotter=snapshotter,
            hands=hands,
            layers=LayerBlobs(store=store, snapshotter=snapshotter),
            remote=Registries(transport=transport, blobs=store.blobs),
            environ=environ,
        )


def _note_use(store: Store, lease: Lease) -> None:
    """Count a use of every snapshot that was looked for: by that the collector ranks them.

    Uses within a few minutes are counted once, so that an unchanged build, again, writes nothing.
    """
    # What the command did matters more: on a full disk this fails, too.
    with suppress(StoreError):
        store.snapshots.touch(lease.held)
