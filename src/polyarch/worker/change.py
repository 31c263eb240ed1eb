"""A step that changes files by the builder's own hands, from its inputs to its snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from polyarch.digest import Digest, sha256
from polyarch.errors import Cancelled, PolyarchError
from polyarch.graph.op import CopyAction, FileAction
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Snapshotter, Stack
from polyarch.snapshot.stack import new_snapshot
from polyarch.store.copies import Copies
from polyarch.store.snapshots import SnapshotRecord
from polyarch.why.seen import Seen
from polyarch.worker.file import perform
from polyarch.worker.plot import find_plot, lay_out
from polyarch.worker.recopy import WORTH_IT, CopyLedger, can_repeat, remove_gone
from polyarch.worker.tree import Contents, SourceTree

__all__ = ["Change"]


@frozen
class Change:
    """Everything that a step's changes depend on.

    `sources[i]` is the tree of the vertex's input i, None if nothing is copied from it; `seen` says what
    content digests were made of, by vertex and input.
    """

    snapshotter: Snapshotter
    copies: Copies
    vertex: Vertex
    actions: Sequence[FileAction]
    parents: Stack
    sources: Sequence[SourceTree | None]
    seen: Mapping[tuple[Digest, int], Seen]
    cancel: CancelToken

    def make(self) -> SnapshotID:
        """Make the snapshot. Raises what `perform` raises."""
        source = self._context()
        if source is None or source.contents is None:
            return self._whole(None)
        step = sha256("\n".join([self.vertex.digest, str(source.root), *self.parents]).encode())
        snapshot = self._again(step, source.contents)
        if snapshot is None:
            ledger = CopyLedger(contents=source.contents)
            snapshot = self._whole(ledger)
            copied = ledger.copied(snapshot)
            if copied is not None:
                self.copies.save(step, copied)
        return snapshot

    def _context(self) -> SourceTree | None:
        """Return the context that is copied, if it is large and the copy can be done by comparing."""
        action = self.actions[0]
        if not can_repeat(self.actions) or not isinstance(action, CopyAction):
            return None
        source = self.sources[action.input]
        seen = self.seen.get((self.vertex.digest, action.input))
        is_large = seen is not None and len(seen.files) >= WORTH_IT
        return source if is_large and source is not None and source.is_context else None

    def _whole(self, ledger: CopyLedger | None) -> SnapshotID:
        plot = find_plot(self.actions, self._lowers())
        with self.snapshotter.prepare(self.parents, merged=plot is None) as draft:
            lay_out(plot or (), draft.root)
            places = perform(self.actions, draft.root, self.sources, ledger, draft.referrer)
            referred = draft.referrer.settle() if draft.referrer is not None else ()
            snapshot = self._keep(draft, (*self.parents, *map(SnapshotID, referred)))
        if places:
            self.copies.save_places(snapshot, places)
        return snapshot

    def _again(self, step: str, contents: Contents) -> SnapshotID | None:
        """Make it out of the last whole copy; None where that doesn't do."""
        before = self.copies.find(step) if self.snapshotter.name == "overlay" else None
        if before is None or not self.snapshotter.exists(SnapshotID(before.snapshot)):
            return None
        ledger = CopyLedger(contents=contents, before=before)
        over = SnapshotID(before.snapshot)
        try:
            with self.snapshotter.prepare(self.parents, over=over) as draft:
                perform(self.actions, draft.root, self.sources, ledger)
                remove_gone(ledger, draft.root, self._lowers())
                return self._keep(draft, (*self.parents, over))
        except Cancelled:
            raise
        except (PolyarchError, OSError):
            return None  # a whole copy is right, or says what is wrong

    def _lowers(self) -> list[Path]:
        return [path for each in self.parents for path in self.snapshotter.shapes(each)]

    def _keep(self, draft: Draft, parents: Stack) -> SnapshotID:
        self.cancel.check()
        snapshot = new_snapshot()
        draft.commit(
            snapshot,
            SnapshotRecord(
                id=snapshot, parents=tuple(dict.fromkeys(parents)), description=self.vertex.name
            ),
        )
        return snapshot
