"""A large copy that is made again after an edit: only what changed is copied.

The draft begins with the layer of the last whole copy of the same step, and what is kept of it is the
difference: files that became others, and whiteouts for those that are gone. The result is a snapshot that
goes on the old one (`Snapshotter.prepare`); together they are the layer, byte for byte what a whole copy
would have made. What each file was made of is known from the content digest, which has just looked at all
of them, and from `polyarch.store.copies`. Where all files of a directory look as they did when they were copied, one
comparison tells that none became another.

Hard links to the old snapshot's files were rejected: a step would see their link counts (overlayfs shows
those of the layer below, with its index or without), and programs act on them: cpio writes them into
archives and moves content, cron and postfix refuse files that have other names.

Each state goes on the last whole copy, never on another difference, so a stack grows by one layer at most.
When half of the files have changed, or where this way doesn't lead to the right result, all is copied.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyarch.errors import PolyarchError
from polyarch.graph.op import CopyAction, FileAction
from polyarch.look import Look
from polyarch.record import field, mutable
from polyarch.store.copies import CopiedDirectory, Copy
from polyarch.store.layerform import find
from polyarch.worker.listing import Listing
from polyarch.worker.tree import Contents
from polyarch.worker.walk import Selected

__all__ = ["CopyLedger", "NotWorthIt", "can_repeat", "remove_gone"]

WORTH_IT = 500
"""Files and directories from which on a copy is remembered: fewer are copied before they are compared."""


class NotWorthIt(PolyarchError):
    """Copying all is simpler; never shown."""


def can_repeat(actions: Sequence[FileAction]) -> bool:
    """Return whether the actions are a copy that this module can do: of directories' contents, nothing else."""
    if len(actions) != 1 or not isinstance(actions[0], CopyAction):
        return False
    action = actions[0]
    is_special = action.manner is not None or bool(action.include) or action.replaces
    return not (action.unpack or action.parents or action.is_literal or is_special)


@mutable
class CopyLedger:
    """Compares what a copy wants with what the last one made.

    `contents` are those of the source, of which a digest has been made; `before` is the last copy, None if
    this one is a whole one.
    """

    contents: Contents
    before: Copy | None = None
    _wanted: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """What was copied or found to be there: by directory, and by name, a stamp. Of a directory that was skipped only the
    directories in it."""
    _totals: dict[str, bytes] = field(default_factory=dict)
    _skipped: set[str] = field(default_factory=set)
    _old: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """What the last copy made in a directory, of those that were looked at."""
    _changes: int = 0
    _most: int = 0
    """Changes that are worth it; counted when there is one."""
    _is_off: bool = False

    def copied(self, snapshot: str) -> Copy | None:
        """Return what a whole copy has made, as a snapshot; None for one that is too small, or can't be compared."""
        if self._is_off:
            return None
        made = Copy(
            snapshot=snapshot,
            directories={
                path: CopiedDirectory.of(stamps, self._totals.get(path, b""))
                for path, stamps in self._wanted.items()
            },
        )
        return made if made.size >= WORTH_IT else None

    def has_files(self, target: str, directory: str, listing: Listing, /) -> bool:
        """See Ledger."""
        path = f"{target}/"
        total = self._totals[path] = self.contents.total(directory, listing)
        old = self.before.directories.get(path) if self.before is not None else None
        is_same = old is not None and bool(total) and old.total == total
        if is_same:
            self._skipped.add(path)
        return is_same

    def has(self, target: str, found: Selected, /) -> bool:
        """See Ledger. Raises NotWorthIt for what must be copied as a whole."""
        if self._is_off:
            return False
        status = found.status
        is_directory = stat.S_ISDIR(status.st_mode)
        content = b"" if is_directory else self.contents.find(found.directory, found.name)
        is_simple = is_directory or (bool(content) and status.st_nlink == 1)
        if not is_simple or not found.is_wanted:
            if self.before is not None:
                raise NotWorthIt("not a copy that can be compared")
            self._wanted.clear()
            self._is_off = True
            return False
        path = f"{target}/{found.prefix}"
        stamp = self._wanted.setdefault(path, {})[found.name] = _stamp(status, content)
        if self.before is None:
            return False
        if self._before(path).get(found.name) == stamp:
            return True
        self._changes += 1
        self._most = self._most or self.before.size // 2
        if self._changes > self._most:
            raise NotWorthIt("most of it changed")
        return False

    def _before(self, path: str) -> Mapping[str, bytes]:
        assert self.before is not None
        old = self._old.get(path)
        if old is None:
            known = self.before.directories.get(path)
            old = self._old[path] = known.stamps() if known else {}
        return old

    def gone(self) -> set[str]:
        """Return the paths of what the last copy made and this one doesn't want."""
        assert self.before is not None
        paths = self.before.directories.keys() - self._skipped
        return {
            f"{path}{name}"
            for path in paths
            for name in self._before(path).keys() - self._wanted.get(path, {}).keys()
        }


def remove_gone(ledger: CopyLedger, root: Path, lowers: Sequence[Path]) -> None:
    """Remove from the tree at `root` what the last copy made and this one doesn't want.

    `lowers` are the layers below both, base first. Raises NotWorthIt if they have something under such a name, which would have to appear again.
    """
    below = tuple(str(lower) for lower in reversed(lowers))
    for path in sorted(ledger.gone(), reverse=True):
        if find(below, path.strip("/")) is not None:
            raise NotWorthIt(f"{path} is in a layer below, too")
        place = Path(f"{root}{path}")
        directory = place.parent.stat()
        if stat.S_ISDIR(place.lstat().st_mode):
            place.rmdir()
        else:
            place.unlink()
        os.utime(place.parent, ns=(directory.st_atime_ns, directory.st_mtime_ns))


def _stamp(status: os.stat_result | Look, content: bytes) -> bytes:
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    look = b"%d %o %d " % (status.st_mtime_ns, status.st_mode, size)
    return hashlib.sha256(look + content).digest()
