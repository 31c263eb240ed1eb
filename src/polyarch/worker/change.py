"""A layer of a FileOp: written straight into its directory where it can be, else through a merged tree.

A copy that meets nothing of the layers below needs no overlay: every file that is made through one costs
a look-up in each layer, and none can share its bytes with a file of another snapshot. What is there on
the way to the destination is made in the layer first, as overlayfs would have copied it up.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from polyarch.digest import sha256
from polyarch.graph.op import CopyAction, FileAction
from polyarch.inroot import resolve
from polyarch.progress import check_cancelled
from polyarch.record import frozen, replace
from polyarch.snapshot.copying import copy_metadata
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.store.copies import Copies
from polyarch.store.snapshots import SnapshotRecord
from polyarch.worker.copyfiles import Reuse
from polyarch.worker.file import perform
from polyarch.worker.reuse import Earlier, Originals
from polyarch.worker.tree import Entry, SourceTree, find_sources
from polyarch.worker.users import owner

__all__ = ["Changer", "Source"]


@frozen
class Source:
    """A tree that actions read from; `stack` is what it is made of, unless it is no tree of layers."""

    tree: SourceTree
    stack: LayerStack | None = None


@frozen
class Changer:
    """Makes layers of file actions."""

    snapshotter: Snapshotter
    copies: Copies

    def change(
        self,
        actions: Sequence[FileAction],
        base: LayerStack,
        sources: Sequence[Source | None],
        record: SnapshotRecord,
    ) -> None:
        """Make the snapshot that `record` names by carrying out `actions` over `base`.

        `sources[i]` is the vertex's input i. Raises NotFound for a missing source, InputError for what
        can't be done, StoreError.
        """
        if len(actions) == 1 and isinstance(actions[0], CopyAction):
            source = sources[actions[0].input]
            assert source is not None
            if self._copy_straight(actions[0], base, source, record):
                return
        trees = [None if source is None else source.tree for source in sources]
        with self.snapshotter.prepare(base.snapshots) as draft:
            perform(actions, draft.root, trees)
            check_cancelled()
            draft.commit(SnapshotID(record.id), record)

    def _copy_straight(
        self, action: CopyAction, base: LayerStack, source: Source, record: SnapshotRecord
    ) -> bool:
        """Copy without a mount to write through, if the copy meets nothing; return if it was done."""
        with ExitStack() as stack:
            below = stack.enter_context(self.snapshotter.view(base.snapshots))
            destination = _free_destination(action, below, source.tree)
            if destination is None:
                return False
            draft = stack.enter_context(self.snapshotter.prepare(base.snapshots, merged=False))
            _copy_up(below, draft.root, destination)
            copy = _name(action, source, below)
            reuse = self._reuse(action, source, draft, copy)
            straight = replace(action, input=0, destination=destination)
            perform((straight,), draft.root, (source.tree,), accounts=below, reuse=reuse)
            check_cancelled()
            is_noted = isinstance(reuse, Earlier) and reuse.save(draft.upper.parent)
            draft.commit(SnapshotID(record.id), record)
        if is_noted:
            self.copies.save(copy, record.id)
        return True

    def _reuse(self, action: CopyAction, source: Source, draft: Draft, copy: str) -> Reuse | None:
        """Return where files of the copy may be already."""
        if source.tree.is_context:
            before = self.copies.find(copy)
            is_there = before is not None and self.snapshotter.exists(SnapshotID(before))
            place = self.snapshotter.path(SnapshotID(before)) if before and is_there else None
            return Earlier(draft.root, source.tree.file_digest, place)
        if source.stack is None or action.owner or action.mode:
            return None
        layers = (str(self.snapshotter.path(each)) for each in reversed(source.stack.snapshots))
        return Originals(root=str(source.tree.root), layers=tuple(layers))


def _name(action: CopyAction, source: Source, below: Path) -> str:
    """Name a copy of a context: all that makes other files of the same source."""
    who = owner(below, action.owner) if action.owner else None
    owned = None if who is None else (who.uid, who.gid)
    parts = (str(source.tree.root), action.sources, action.destination, owned, action.mode)
    return sha256(json.dumps(parts).encode("utf-8", "surrogatepass"))


def _free_destination(action: CopyAction, below: Path, source: SourceTree) -> str | None:
    """Return where a copy goes, links resolved, if nothing is there that has a name of what is copied.

    `below` is the tree to which it is added. Raises NotFound for a missing source.
    """
    if action.parents or action.is_literal:
        return None
    target = resolve(below, action.destination)
    if not _nearest(target).is_dir():
        return None
    for entry in _entries(action, source):
        if action.unpack and stat.S_ISREG(entry.status.st_mode):
            return None  # it may be an archive
        if os.path.lexists(target) and _meets(entry, target, source):
            return None
    inside = os.path.relpath(target, below)
    path = "/" if inside == "." else f"/{inside}"
    is_folder = action.destination.endswith("/") and path != "/"
    return f"{path}/" if is_folder else path


def _entries(action: CopyAction, source: SourceTree) -> Iterator[Entry]:
    for wanted in action.sources:
        yield from find_sources(source, wanted)


def _meets(entry: Entry, target: Path, source: SourceTree) -> bool:
    """Tell whether a source has a name that is in the folder `target`, or that is no folder."""
    if not target.is_dir():
        return True
    if not entry.is_directory:
        return os.path.lexists(target / entry.name)
    names = {item.name for item in source.entries(str(entry.path))}
    return not names.isdisjoint(os.listdir(target))


def _nearest(path: Path) -> Path:
    while not os.path.lexists(path):
        path = path.parent
    return path


def _copy_up(below: Path, upper: Path, destination: str) -> None:
    """Make those folders on the way to `destination` that are there `below`, as they are there."""
    made: list[str] = []
    path = ""
    for part in destination.strip("/").split("/"):
        path = f"{path}/{part}"
        if not os.path.isdir(f"{below}{path}"):
            break
        os.mkdir(f"{upper}{path}")
        made.append(path)
    for each in reversed(made):
        copy_metadata(f"{below}{each}", os.lstat(f"{below}{each}"), f"{upper}{each}")
