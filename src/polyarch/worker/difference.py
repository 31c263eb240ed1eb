"""What has to be done to one tree to make another of it, as a layer: for trees that don't go on one another.

The one above is copied over the one below, as far as that isn't like it already; what overlayfs makes of it is the layer.
Source: `DiffOp` of BuildKit, and `fs.Changes` of containerd's continuity.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from pathlib import Path

from polyarch.inroot import get_node, get_owner
from polyarch.look import Status
from polyarch.progress import check_cancelled
from polyarch.record import frozen
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter, Stack
from polyarch.snapshot.stack import new_snapshot
from polyarch.store.snapshots import SnapshotRecord
from polyarch.worker.attributes import attributes_of, is_copied
from polyarch.worker.copy import Copier
from polyarch.worker.listing import Listing
from polyarch.worker.tree import SourceTree, find_path
from polyarch.worker.walk import Selected

__all__ = ["Difference"]


@frozen
class Difference:
    """From the stack `below` to the tree `above`."""

    snapshotter: Snapshotter
    below: Stack
    above: SourceTree

    def make(self, description: str) -> SnapshotID:
        """Make the snapshot of the layer."""
        snapshot = new_snapshot()
        with self.snapshotter.prepare(self.below) as draft:
            self._remove_gone(draft.root)
            ledger = _Likeness(root=draft.root)
            copier = Copier(source=self.above, root=draft.root, ledger=ledger, replaces=True)
            copier.copy(find_path(self.above, "/"), "/")
            draft.commit(snapshot, SnapshotRecord(id=snapshot, description=description))
        return snapshot

    def _remove_gone(self, root: Path) -> None:
        """Remove what the tree above doesn't have, or has as another kind of thing."""
        todo = [""]
        while todo:
            inside = todo.pop()
            for entry in list(os.scandir(root / inside)):
                check_cancelled()
                name = f"{inside}/{entry.name}".lstrip("/")
                is_directory = entry.is_dir(follow_symlinks=False)
                there = self.above.root / name
                if not os.path.lexists(there) or is_directory != _is_directory(there):
                    if is_directory:
                        shutil.rmtree(entry.path)
                    else:
                        os.unlink(entry.path)
                elif is_directory:
                    todo.append(name)


@frozen
class _Likeness:
    """Knows what is in a tree already, as `polyarch.worker.copy.Ledger`."""

    root: Path

    def has_files(self, _target: str, _directory: str, _listing: Listing, /) -> bool:
        """Tell nothing of whole directories; see `Ledger`."""
        return False

    def has(self, target: str, found: Selected, /) -> bool:
        """Tell whether a file is like the one that is there; see `Ledger`."""
        path = f"{self.root}{target}/{found.inside}"
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return _looks(path, status) == _looks(found.path, found.status) and _is_alike(path, found)


def _looks(path: str, status: Status) -> tuple[object, ...]:
    """Return what counts of a file beside its content."""
    kind = status.st_mode
    node = get_node(path, status) if stat.S_ISREG(kind) else (kind, status.st_rdev)
    size = status.st_size if stat.S_ISREG(kind) else 0
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in attributes_of(path)
        if is_copied(name)
    }
    return kind, node, get_owner(path, status), status.st_mtime_ns, size, attributes


def _is_alike(path: str, found: Selected) -> bool:
    kind = found.status.st_mode
    if stat.S_ISLNK(kind):
        return os.readlink(path) == os.readlink(found.path)
    return not stat.S_ISREG(kind) or filecmp.cmp(path, found.path, shallow=False)


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
