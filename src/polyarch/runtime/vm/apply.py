"""Changes from a machine -> a tree of ours: the same calls that the step would have made here.

The tree is the merged one that a draft shows, so that what is removed becomes a whiteout and what replaces
a directory is opaque, as for a step that ran here. The machine is not trusted: a path is one of a directory that
was made or found just before, by its own name, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress

from polyarch.errors import StoreError
from polyarch.inroot import PRIVATE_XATTR_PREFIX, make_node, set_owner
from polyarch.runtime.vm.changes import Change, read_changes, read_contents
from polyarch.runtime.vm.machine import Machine
from polyarch.store.layerform import is_whiteout
from polyarch.store.trees import remove_tree
from polyarch.store.trouble import store_trouble

__all__ = ["Writer", "bring_changes"]


def bring_changes(machine: Machine, upper: str, root: str) -> None:
    """Do to the tree `root` what was done in a machine, by the upper directory that is left there.

    Raises NoRuntime if the machine is gone, StoreError.
    """
    changes = read_changes(machine, upper)
    with store_trouble("write to", root):
        writer = Writer(os.fsencode(root))
        files: list[Change] = []
        names: dict[int, Change] = {}
        for each in changes[1:]:
            if each.is_file and each.links > 1 and each.inode in names:
                continue
            writer.make(each)
            if each.is_file:
                names[each.inode] = each
                files.append(each)
        read_contents(machine, upper, files, writer.write)
        for each in changes[1:]:
            if each.is_file and names[each.inode] is not each:
                writer.link(names[each.inode], each)
        writer.finish(changes)


class Writer:
    """Makes files below a root."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def _place(self, change: Change) -> bytes:
        return self._root + b"/" + change.path if change.path else self._root

    def make(self, change: Change) -> None:
        """Make a directory, a link or a node, or make room for a file; remove what a whiteout stands for."""
        path = self._place(change)
        if change.is_directory:
            self._make_directory(path, change)
            return
        self._remove(path)
        status = _Status(change)
        if is_whiteout(status) or stat.S_ISSOCK(change.mode):  # type: ignore[arg-type] # the two fields are all
            return
        if stat.S_ISLNK(change.mode):
            os.symlink(change.target, path)
            set_owner(os.fsdecode(path), change.uid, change.gid, fresh=True)
            self._set_xattrs(path, change)
            os.utime(path, ns=(change.modified_ns,) * 2, follow_symlinks=False)
        elif not change.is_file:
            make_node(os.fsdecode(path), change.mode, change.device)
            self._set_attributes(path, change)

    def _make_directory(self, path: bytes, change: Change) -> None:
        status = self._status(path)
        if status is not None and stat.S_ISDIR(status.st_mode) and not change.opaque:
            return
        self._remove(path)
        os.mkdir(path, 0o700)

    @staticmethod
    def _status(path: bytes) -> os.stat_result | None:
        try:
            return os.lstat(path)
        except FileNotFoundError:
            return None

    def _remove(self, path: bytes) -> None:
        status = self._status(path)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            remove_tree(os.fsdecode(path))
        else:
            os.unlink(path)

    def write(self, change: Change, pieces: Iterator[bytes]) -> None:
        """Make a file with what it holds."""
        path = self._place(change)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, 0o600), "wb", buffering=0) as file:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
            size = file.tell()
        if size != change.size:
            name = os.fsdecode(change.path)
            raise StoreError(
                f"{name} came out of the virtual machine with {size} bytes of {change.size}"
            )
        self._set_attributes(path, change)

    def link(self, first: Change, change: Change) -> None:
        """Give a file another name."""
        path = self._place(change)
        self._remove(path)
        os.link(self._place(first), path, follow_symlinks=False)

    def finish(self, changes: Sequence[Change]) -> None:
        """Set owners, modes and times of directories, deepest first, as their content is there now."""
        for each in reversed(changes):
            if each.is_directory and (each.path or self._differs(each)):
                self._set_attributes(self._place(each), each)

    def _differs(self, top: Change) -> bool:
        """Tell whether the top has become another: if not, nothing of it is to get into a layer."""
        status = os.lstat(self._root)
        before = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
        return before != (top.mode, top.uid, top.gid, top.modified_ns)

    def _set_attributes(self, path: bytes, change: Change) -> None:
        """Set what can be set of anything but a link: the owner before the mode, as it clears bits of that."""
        set_owner(os.fsdecode(path), change.uid, change.gid)
        os.chmod(path, stat.S_IMODE(change.mode))
        self._set_xattrs(path, change)
        os.utime(path, ns=(change.modified_ns,) * 2)

    def _set_xattrs(self, path: bytes, change: Change) -> None:
        """Set the extended attributes that are there, and no others."""
        wanted = dict(change.xattrs)
        with suppress(OSError):
            for name in os.listxattr(path, follow_symlinks=False):
                if os.fsencode(name) not in wanted and not name.startswith(PRIVATE_XATTR_PREFIX):
                    os.removexattr(path, name, follow_symlinks=False)
        for key, value in wanted.items():
            try:
                os.setxattr(path, key, value, follow_symlinks=False)
            except OSError as error:
                # What a step here could not have set, either.
                if error.errno not in {errno.EPERM, errno.EOPNOTSUPP}:
                    raise


class _Status:
    """What `is_whiteout` looks at."""

    def __init__(self, change: Change) -> None:
        self.st_mode = change.mode
        self.st_rdev = change.device
