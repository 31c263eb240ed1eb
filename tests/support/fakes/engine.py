"""An engine that runs nothing: steps leave notes in place of what a program would have made.

All else is real: the store, the snapshots (whole copies, which need no mounts), layers, outputs. So the whole
path of a build can be gone by anybody, without namespaces or a runtime. The registry is one of this process.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from polyarch.digest import Digest, sha256
from polyarch.engine.background import Background
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Built, Crew, Part, Sources
from polyarch.errors import NotFound, StepFailed
from polyarch.exporter.layers import LayerBlobs
from polyarch.golang.json import compact
from polyarch.graph.op import CopyAction, ExecOp, FileOp, ImageOp, LocalOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.media import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from polyarch.progress import CancelToken
from polyarch.record import frozen, replace
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.transport import Request, Response, Transport
from polyarch.request.explanation import Outcome
from polyarch.snapshot.leased import LeasedSnapshotter
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.facts import Gate, no_gate
from polyarch.solver.key import Content
from polyarch.solver.solver import SolveReport
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.why.seen import Seen
from polyarch.worker.tree import SourceTree
from polyarch.worker.worker import Result, Worker
from tests.support.images.trees import plant
from tests.support.network.registry import Registry, opened, serving
from tools.gzipped import gzipped

__all__ = ["BASE", "FakeEngine", "fake_engine", "plant_base"]

BASE = "registry.test/base:1"
"""The base image that there is, for amd64 and arm64: one layer with a file `/base`."""
_FAILS = "fail"
"""A step that runs a program of this name fails."""


class _Hosted(Transport):
    """Leads every registry's name to one registry of this process."""

    def __init__(self, host: str) -> None:
        super().__init__(Hosts(), Credentials({"DOCKER_CONFIG": "/nonexistent"}))
        self._host = host

    def send(self, request: Request) -> Response:
        return super().send(replace(request, domain=self._host))

    def known_by(self, credentials: Credentials) -> Transport:
        del credentials
        return _Hosted(self._host)


def plant_base(registry: Registry) -> None:
    """Put the base image into a registry."""
    name, _, tag = BASE.partition("/")[2].partition(":")

    def put(media_type: str, data: bytes) -> dict[str, object]:
        digest = sha256(data)
        registry.blobs[name, digest] = data
        registry.manifests[name, digest] = (media_type, data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    manifests = []
    for architecture in ("amd64", "arm64"):
        manifest = _manifest(architecture, put)
        platform = {"os": "linux", "architecture": architecture}
        manifests.append({**put(OCI_MANIFEST, compact(manifest)), "platform": platform})
    index = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
    registry.manifests[name, tag] = (OCI_INDEX, index)
    put(OCI_INDEX, index)


def _manifest(
    architecture: str, put: Callable[[str, bytes], dict[str, object]]
) -> dict[str, object]:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("base")
        member.uid, member.gid = os.getuid(), os.getgid()  # whom anybody may give files to
        archive.addfile(member)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar.getvalue())]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "base"}],
    }
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": put(OCI_CONFIG, compact(config)),
        "layers": [put(OCI_LAYER_GZIP, gzipped(tar.getvalue()))],
    }


class FakeEngine(Engine):
    """An engine in which a RUN writes `/ran/PROGRAM`, which holds the name of its platform.

    A COPY copies texts, from a context as from another stage.
    """

    def solve(self, part: Part, cancel: CancelToken) -> Built:
        graph = part.graph
        results: dict[Vertex, Result] = {}
        for vertex in graph.vertices():
            cancel.check()
            inputs = [results[each] for each in vertex.inputs]
            results[vertex] = self.carry_out(vertex, inputs, part.sources)
        ran = [each for each in graph.vertices() if isinstance(each.op, ExecOp | FileOp)]
        report = SolveReport(
            outcomes={each.digest: Outcome.RAN for each in ran}, identities={}, facts=lambda: ()
        )
        return Built(results=tuple(results[each] for each in graph.targets), report=report)

    def crew(self, part: Part, seen: dict[tuple[Digest, int], Seen] | None = None) -> Crew:
        """Parts that are solved together are solved by the real solver, with a worker that runs nothing."""
        crew = super().crew(part, seen)
        fields = {name: getattr(crew.worker, name) for name in Worker.__annotations__}
        crew.worker = _FakeWorker(**fields, carry_out=partial(self.carry_out, sources=part.sources))
        return crew

    def gate(self, *_asked: Any, is_far: bool) -> Gate:
        return no_gate

    def carry_out(self, vertex: Vertex, inputs: Sequence[Result], sources: Sources) -> Result:
        """Return the result of a vertex."""
        op = vertex.op
        if isinstance(op, ImageOp):
            return LayerStack.of_image(op.diff_ids, op.blobs, op.source)
        if isinstance(op, LocalOp):
            return sources.contexts[op.name]
        files: dict[str, str | None] = {}
        if isinstance(op, ExecOp):
            if _FAILS in op.argv:
                raise StepFailed("it failed", place=vertex.location, status=1)
            files[f"ran/{op.argv[-1].split()[0]}"] = str(op.platform)
        elif isinstance(op, FileOp):
            for action in op.actions:
                if isinstance(action, CopyAction):
                    files |= self._copied(action, inputs[action.input])
        if not inputs:
            return LayerStack()
        base = inputs[0]
        assert isinstance(base, LayerStack)
        sources.images.ensure_unpacked(base, vertex.inputs[0], CancelToken())
        return base.with_layer(self._layer(vertex, files))

    def _copied(self, action: CopyAction, source: Result) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in action.sources:
            is_inside = action.destination.endswith("/")
            target = action.destination + (Path(name).name if is_inside else "")
            found[target.strip("/")] = self._read(source, name.strip("/"))
        return found

    def _read(self, source: Result, path: str) -> str:
        if isinstance(source, SourceTree):
            return (source.root / path).read_text()
        own = (layer.snapshot for layer in reversed(source.layers) if layer.blob is None)
        for snapshot in own:
            if (file := self.snapshotter.path(snapshot) / path).exists():
                return file.read_text()
        raise NotFound(f"/{path}: not found")

    def _layer(self, vertex: Vertex, files: Mapping[str, str | None]) -> SnapshotID:
        snapshot = SnapshotID(f"step-{vertex.digest[-12:]}")
        if not self.snapshotter.exists(snapshot):
            record = SnapshotRecord(id=snapshot)
            self.snapshotter.unpack(snapshot, partial(plant, files=files), record)
        return snapshot


@frozen
class _FakeWorker(Worker):
    """Has all carried out by the engine; contents are the texts that a copy takes. `counted` are the steps that ran."""

    carry_out: Callable[[Vertex, Sequence[Result]], Result]

    def content(
        self, vertex: Vertex, index: int, source: Result, cancel: CancelToken, /
    ) -> Content:
        op = vertex.op
        assert isinstance(op, FileOp)
        copies = [a for a in op.actions if isinstance(a, CopyAction) and a.input == index]
        found = [self._read(source, each) for action in copies for each in action.sources]
        self.seen[vertex.digest, index] = Seen()
        return Content(digest=sha256("\n".join(found).encode()))

    def _read(self, source: Result, name: str) -> str:
        if isinstance(source, SourceTree):
            return (source.root / name.strip("/")).read_text()
        return f"{source.identity} {name}"

    def run(self, vertex: Vertex, inputs: Sequence[Result], cancel: CancelToken, /) -> Result:
        cancel.check()
        return self.carry_out(vertex, inputs)


@contextmanager
def fake_engine(directory: Path) -> Iterator[FakeEngine]:
    """Open an engine with a store in `directory`, and a registry that has the base image."""
    with (
        Store(directory / "store") as store,
        serving() as registry,
        store.leases.hold() as lease,
    ):
        plant_base(registry)
        snapshotter = LeasedSnapshotter(NativeSnapshotter(store), lease)
        yield FakeEngine(
            store=store,
            snapshotter=snapshotter,
            programs=cast("Any", None),
            layers=LayerBlobs(store=store, snapshotter=snapshotter),
            transport=opened(_Hosted(registry.host)),
            environ={},
            background=Background(store, {}),
        )
