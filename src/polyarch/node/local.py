"""This machine as a node: one store, one runtime, one solver's hands, in the engine's namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from polyarch.emulation.binfmt import BinfmtMount
from polyarch.emulation.facts import Facts
from polyarch.exporter.files import FileTree
from polyarch.exporter.layers import LayerBlobs
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.node.carrier import RegistryCarrier
from polyarch.node.inputs import Contexts
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
from polyarch.runtime.base import Runtime
from polyarch.runtime.choose import choose_runtime, find_host
from polyarch.runtime.foreign import ForeignSteps
from polyarch.runtime.spawner import Spawner
from polyarch.runtime.spec import Network, resolv_conf
from polyarch.runtime.userns import EngineNamespaces
from polyarch.snapshot.choose import open_snapshotter
from polyarch.snapshot.snapshotter import Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.records import Records
from polyarch.solver.slots import SlotLimits
from polyarch.solver.solver import Solved, Solver
from polyarch.store.store import Store
from polyarch.worker.exec import StepRunner
from polyarch.worker.mounts import StepMounts
from polyarch.worker.secrets import Secrets
from polyarch.worker.source_image import ImageSource
from polyarch.worker.worker import Result, Worker

__all__ = ["LocalNode", "host_resolv_conf", "open_local_node", "open_transport"]

_RESOLV_CONF = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
_STUB_SERVER = "127.0.0.53"


@frozen
class LocalNode:
    """What builds and runs here. Made by `open_local_node`, gone when its block is left."""

    store: Store
    snapshotter: Snapshotter
    runtime: Runtime
    foreign: ForeignSteps
    layers: LayerBlobs
    remote: Registries

    def images(self, sink: Sink) -> ImageSource:
        """Return where images come from, showing what it does to `sink`."""
        return ImageSource(
            store=self.store, snapshotter=self.snapshotter, remote=self.remote, sink=sink
        )

    def carrier(self, images: ImageSource) -> RegistryCarrier:
        """Return what brings blobs here and images away."""
        return RegistryCarrier(store=self.store, images=images, transport=self.remote.transport)

    def keep(self, name: Reference, root: Descriptor) -> None:
        """Let a name of the local store stand for an image whose documents are in the store."""
        self.store.refs.set(name.canonical, compact(root.to_json()).decode())

    @contextmanager
    def trees(
        self,
        platforms: Sequence[Platform],
        stacks: Sequence[LayerStack],
        images: ImageSource,
        shown: tuple[Vertex, ...],
        cancel: CancelToken,
    ) -> Iterator[tuple[FileTree, ...]]:
        """Give the files of results, one tree for each platform."""
        with ExitStack() as resources:
            trees = []
            for platform, stack, vertex in zip(platforms, stacks, shown, strict=True):
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
        secrets: Secrets,
        jobs: int = 0,
    ) -> Solved[Result]:
        """Compute the results of the graph's targets. Raises what the first step to fail raises."""
        steps = StepRunner(
            snapshotter=self.snapshotter,
            runtime=self.runtime,
            foreign=self.foreign,
            mounts=StepMounts(store=self.store, snapshotter=self.snapshotter, secrets=secrets),
            sink=images.sink,
            temporary=lambda: self.store.temporary("step"),
            resolv_conf=host_resolv_conf,
        )
        worker = Worker(
            snapshotter=self.snapshotter,
            images=images,
            steps=steps,
            contexts=contexts.trees,
            records=self.store.snapshots,
        )
        solver: Solver[Result] = Solver(
            worker,
            Records(self.store.database),
            self.store.locks,
            limits=SlotLimits(jobs=jobs),
            sink=images.sink,
        )
        return solver.solve(graph, cancel)


def open_transport(environ: Mapping[str, str] = os.environ) -> Transport:
    """Return what speaks to registries, with the user's settings and credentials."""
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
        host = find_host(rootless=namespaces.rootless, mapped_ids=namespaces.mapped_ids)
        spawner = Spawner()
        stack.callback(spawner.close)
        facts = Facts(root)
        foreign = ForeignSteps(
            host=host,
            spawner=spawner,
            facts=facts,
            outer=_outer_binfmt(namespaces),
            environ=environ,
        )
        stack.callback(foreign.close)
        snapshotter = open_snapshotter(store, environ.get("POLYARCH_SNAPSHOTTER", "auto"))
        yield LocalNode(
            store=store,
            snapshotter=snapshotter,
            runtime=choose_runtime(
                environ.get("POLYARCH_RUNTIME"),
                host=host,
                spawner=spawner,
                facts=facts,
                environ=environ,
            ),
            foreign=foreign,
            layers=LayerBlobs(store=store, snapshotter=snapshotter),
            remote=Registries(transport=open_transport(environ), blobs=store.blobs),
        )


def _outer_binfmt(namespaces: EngineNamespaces) -> BinfmtMount | None:
    if namespaces.outer_binfmt is None:
        return None
    return BinfmtMount(f"/proc/self/fd/{namespaces.outer_binfmt}")


def host_resolv_conf() -> str:
    """Return what steps on the host's network get: the real servers behind systemd's stub, too."""
    texts = [_read(path) for path in _RESOLV_CONF]
    text = texts[1] if _STUB_SERVER in texts[0] and texts[1] else texts[0]
    return resolv_conf(text, Network.HOST)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
