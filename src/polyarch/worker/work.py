"""What a step is while it is done: the op and what it stands on, where it runs, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from polyarch.errors import StepFailed
from polyarch.graph.op import BindMount, ExecOp
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.record import field, frozen
from polyarch.runtime.base import Ended
from polyarch.snapshot.snapshotter import Draft, SnapshotID
from polyarch.snapshot.stack import LayerStack, new_snapshot
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.worker.mounts import MountedStep, Reading
from polyarch.worker.tree import SourceTree

__all__ = ["ROOT", "Attempt", "Left", "Place", "Work"]

ROOT = -1
"""The place of a step's root among its mounts."""

Left = Callable[[Vertex, Mapping[int, LayerStack]], None]
"""Is told what a step that failed has left: the trees of its root (ROOT) and of its mounts by their places among the op's."""


@frozen
class Work:
    """An exec op to be done: `vertex` over `stack`; `sources[i]` is the vertex's input i.

    `outputs` gets the snapshots of mounts that are outputs, by their numbers, once they are kept.
    """

    vertex: Vertex
    stack: LayerStack
    sources: Sequence[LayerStack | SourceTree]
    reading: Reading
    cancel: CancelToken
    outputs: dict[int, SnapshotID] = field(default_factory=dict)

    @property
    def op(self) -> ExecOp:
        """What is to be done."""
        assert isinstance(self.vertex.op, ExecOp)
        return self.vertex.op


@frozen
class Place:
    """Where a step runs: its root, what is mounted there, and a directory for files of its own."""

    draft: Draft
    directory: Path
    mounted: MountedStep


@frozen
class Attempt:
    """A step that has run to its end; what it changed is thrown away unless it is kept.

    `seconds` is what it took by the clock; `failure` makes the error of a status other than 0; `trouble` is what
    its emulator did wrong, "" if nothing. `written` are the drafts of mounts that may be written to, by their places
    among the op's.
    """

    work: Work
    draft: Draft
    ended: Ended
    seconds: float
    failure: Callable[[], StepFailed]
    trouble: str = ""
    written: Mapping[int, Draft] = field(default_factory=dict)
    left: Left | None = None

    def seal(self) -> Path:
        """Return the layer of what the step changed; its root is unmounted. May be repeated."""
        return self.draft.seal()

    def keep(self) -> SnapshotID:
        """Make what the step changed a snapshot. Raises StepFailed if it didn't end well."""
        op = self.work.op
        if self.ended.status not in (op.exit_codes or (0,)):
            failure = self.failure()
            if self.left is not None:
                self.left(self.work.vertex, self._trees())
            raise failure
        # Described as BuildKit does: a history without an entry for the layer quotes it.
        command = " ".join(op.argv)
        for number, mount in enumerate(op.mounts):
            if isinstance(mount, BindMount) and mount.output:
                below = self.work.sources[mount.input]
                assert isinstance(below, LayerStack)
                shown = f"mount {mount.target} from exec {command}"
                self.work.outputs[mount.output] = _kept(self.written[number], below, shown)
        return _kept(self.draft, self.work.stack, f"mount / from exec {command}")

    def _trees(self) -> dict[int, LayerStack]:
        """Return the trees that the step has seen, as it has left them."""
        command, stack = " ".join(self.work.op.argv), self.work.stack
        root = _kept(self.draft, stack, f"mount / from exec {command}", RecordType.INTERNAL)
        trees = {ROOT: stack.with_layer(root)}
        for number, mount in enumerate(self.work.op.mounts):
            below = self.work.sources[mount.input] if isinstance(mount, BindMount) else None
            if isinstance(below, LayerStack):
                trees[number] = below
                if number in self.written:
                    shown = f"mount {mount.target} from exec {command}"
                    layer = _kept(self.written[number], below, shown, RecordType.INTERNAL)
                    trees[number] = below.with_layer(layer)
        return trees


def _kept(
    draft: Draft, below: LayerStack, shown: str, kind: RecordType = RecordType.REGULAR
) -> SnapshotID:
    snapshot = new_snapshot()
    record = SnapshotRecord(id=snapshot, parents=below.snapshots, description=shown, type=kind)
    draft.commit(snapshot, record)
    return snapshot
