"""What a layer changed, and its tar: the same bytes for the same changes.

A snapshot's directory holds its changes already, in the form of overlayfs, together with files that were
only copied up and didn't change: those are found by comparing them with the layers below, and left out. A
directory that hides what is below it is walked beside that, as two whole trees. Each directory comes before
what is in it, names in byte order, the root never.

The rules are those of BuildKit's two differs, as its cache keys hang on the digests:
- a directory that is unchanged itself is only there as the parent of a change (the writer adds it);
- equal are files of the same type, mode, owner, device, capabilities, size and mtime; if both mtimes
  are whole seconds, archives may have cut them, and the bytes decide;
- a directory's mtime doesn't count;
- an opaque directory is compared with what it hides, and what vanished becomes a whiteout each;
- the whiteout of a directory stands for all that was in it.

Hard links: the first name of a file in the layer carries the content, later ones refer to it.
Sources: OCI image-spec v1.1, layer.md ("Change Types", "Representing Changes", "Whiteouts").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from polyarch.inroot import as_root, get_node, get_owner
from polyarch.layer.tar import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    NO_XATTRS,
    SYMLINK,
    Entry,
    Sink,
    TarWriter,
)
from polyarch.store.layerform import Opener, is_opaque, is_whiteout, look_up, open_plain
from polyarch.store.trouble import store_trouble

__all__ = ["Change", "Clamp", "layer_changes", "write_changes", "write_layer"]

_CAPABILITY = "security.capability"
_SECOND = 1_000_000_000
_CHUNK = 1 << 20
_AT_ONCE = 256
_OPAQUE = ".wh..opq"
"""What a directory takes away that hides all that is below it."""

Clamp = Callable[[int], int]
"""Changes an mtime (nanoseconds since the epoch) on its way into an archive."""


class Change(NamedTuple):
    """A path that differs from the layers below; `path` is relative, without a leading slash.

    `source` is where it lies on this machine, and `status` its `os.lstat`; both are None for a path
    that vanished. `linked_only` marks an unchanged file that has other names: it belongs into the
    archive only if another of its names does.
    """

    path: str
    source: str | None
    status: os.stat_result | None
    linked_only: bool = False


def write_layer(
    upper: Path,
    lowers: Sequence[Path],
    sink: Sink,
    *,
    clamp: Clamp | None = None,
    open_lower: Opener = open_plain,
    is_linked: bool = False,
) -> None:
    """Write the layer in `upper` as a tar archive; the same layer gives the same bytes.

    `upper` is in layer form, `lowers` are the layers below, base first, likewise; their files are opened by
    `open_lower`. One that `is_linked` goes on layers that aren't looked at: it has all that it removes.
    `clamp` serves `rewrite-timestamp`. Raises StoreError.
    """
    found = layer_changes(upper, lowers, open_lower, is_linked=is_linked)
    write_changes(upper, found, sink, clamp=clamp)


def write_changes(
    root: Path, changes: Iterable[Change], sink: Sink, *, clamp: Clamp | None = None
) -> None:
    """Write changes as a tar archive. `root` is the tree in which their parents are looked up."""
    with store_trouble("read the layer", root):
        writer = _LayerWriter(root, TarWriter(sink), clamp)
        for change in changes:
            writer.add(change)
        writer.end()


def layer_changes(
    upper: Path,
    lowers: Sequence[Path],
    open_lower: Opener = open_plain,
    *,
    is_linked: bool = False,
) -> Iterator[Change]:
    """Find the changes of a layer in overlayfs's form over `lowers`, base first; see `write_layer`."""
    below = tuple(str(lower) for lower in reversed(lowers))
    yield from _upper_changes(str(upper), "", below, open_lower, is_linked)


def _upper_changes(
    directory: str, prefix: str, below: tuple[str, ...], open_lower: Opener, is_linked: bool
) -> Iterator[Change]:
    for name, status in _statuses(directory):
        source, path = f"{directory}/{name}", prefix + name
        if not below and stat.S_ISREG(status.st_mode):
            yield Change(path, source, status)
            continue
        old, old_directories = look_up(below, name) if below else (None, ())
        if is_whiteout(status):
            if old is not None or is_linked:
                yield Change(path, None, None)
            continue
        if old is None or not _is_same(old, os.lstat(old), source, status, open_lower):
            yield Change(path, source, status)
        if not stat.S_ISDIR(status.st_mode):
            continue
        if is_linked and is_opaque(source):
            yield Change(f"{path}/{_OPAQUE}", None, None)
        if old_directories and is_opaque(source):
            yield from _tree_changes(source, path + "/", old_directories, open_lower)
        else:
            yield from _upper_changes(source, path + "/", old_directories, open_lower, is_linked)


def _tree_changes(
    directory: str, prefix: str, below: tuple[str, ...], open_lower: Opener
) -> Iterator[Change]:
    """Walk a whole tree beside the merged `below`; whiteouts in it only say what isn't there."""
    old_names = {name for lower in below for name in _names(lower)}
    new_names = set(_names(directory))
    for name in sorted(old_names | new_names, key=os.fsencode):
        source, path = f"{directory}/{name}", prefix + name
        old, old_directories = look_up(below, name) if name in old_names else (None, ())
        status = os.lstat(source) if name in new_names else None
        if status is None or is_whiteout(status):
            if old is not None:
                yield Change(path, None, None)
            continue
        is_directory = stat.S_ISDIR(status.st_mode)
        if old is None or not _is_same(old, os.lstat(old), source, status, open_lower):
            yield Change(path, source, status)
        elif not is_directory and status.st_nlink > 1:
            yield Change(path, source, status, linked_only=True)
        if is_directory:
            yield from _tree_changes(source, path + "/", old_directories, open_lower)


def _names(directory: str) -> list[str]:
    names = os.listdir(directory)
    # Byte order, as Go sorts; that of str differs for what isn't ASCII.
    names.sort(key=None if "".join(names).isascii() else os.fsencode)
    return names


def _statuses(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Look at the files of a directory, in byte order; some at once, with the directory open meanwhile.

    Not all, as that may be a million; and it isn't left open, as the caller goes on to the directories in it.
    """
    names = _names(directory)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = [os.stat(name, dir_fd=descriptor, follow_symlinks=False) for name in some]
        finally:
            os.close(descriptor)
        yield from zip(some, found, strict=True)


def _is_same(
    old: str, before: os.stat_result, new: str, after: os.stat_result, open_old: Opener
) -> bool:
    """Return whether a file that is in a layer is no change of the one below."""
    if before.st_ino == after.st_ino and before.st_dev == after.st_dev:
        return True
    if get_node(old, before) != get_node(new, after) or get_owner(old, before) != get_owner(
        new, after
    ):
        return False
    if _capability(old, before) != _capability(new, after):
        return False
    if stat.S_ISDIR(after.st_mode):
        return True
    if before.st_size != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        return False
    return after.st_mtime_ns % _SECOND != 0 or _same_content(old, new, after, open_old)


def _same_content(old: str, new: str, status: os.stat_result, open_old: Opener) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(old) == os.readlink(new)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return True
    with open(open_old(old), "rb", buffering=0) as one, open(new, "rb", buffering=0) as other:
        while chunk := one.read(_CHUNK):
            if chunk != other.read(len(chunk)):
                return False
        return not other.read(1)


def _capability(path: str, status: os.stat_result) -> bytes | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    try:
        return os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    except OSError:
        return None


def _has_xattrs(file: str | int) -> bool:
    """Return whether a file has extended attributes, given its path, or itself open."""
    try:
        return bool(os.listxattr(file, follow_symlinks=isinstance(file, int)))
    except OSError:
        return False  # a file system without them


class _LayerWriter:
    """Turns changes into entries: adds parents once, links names of one file, skips sockets."""

    def __init__(self, root: Path, writer: TarWriter, clamp: Clamp | None) -> None:
        self._root = str(root)
        self._writer = writer
        self._clamp = clamp
        self._directories = {""}
        self._first_names: dict[tuple[int, int], str] = {}
        self._waiting: dict[tuple[int, int], list[Change]] = {}

    def end(self) -> None:
        self._writer.end()

    def add(self, change: Change) -> None:
        if change.status is None or change.source is None:
            self._add_whiteout(change.path)
        elif not stat.S_ISSOCK(change.status.st_mode):
            self._add_file(change, change.source, change.status)

    def _add_whiteout(self, path: str) -> None:
        directory, _, name = path.rpartition("/")
        self._add_parents(path)
        hidden = f"{directory}/.wh.{name}" if directory else f".wh.{name}"
        self._writer.add(Entry(name=hidden, split=True))

    def _add_file(self, change: Change, source: str, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            self._add_linked(change, source, status)
        elif not change.linked_only:
            self._put(change.path, source, status)

    def _add_linked(self, change: Change, source: str, status: os.stat_result) -> None:
        """Add a file that has other names, here or elsewhere."""
        key = (status.st_dev, status.st_ino)
        first = self._first_names.get(key)
        if first is not None:
            self._put_link(change.path, source, status, first)
            return
        if change.linked_only:
            self._waiting.setdefault(key, []).append(change)
            return
        self._first_names[key] = change.path
        self._put(change.path, source, status)
        for other in self._waiting.pop(key, ()):
            self._put_link(other.path, source, status, change.path)

    def _put_link(self, path: str, source: str, status: os.stat_result, first: str) -> None:
        self._add_parents(path)
        entry = self._entry(path, source, status)
        self._writer.add(entry._replace(kind=HARD_LINK, size=0, link=first, major=0, minor=0))

    def _put(self, path: str, source: str, status: os.stat_result) -> None:
        self._add_parents(path)
        mode = status.st_mode
        if stat.S_ISREG(mode) and status.st_size:
            self._put_content(path, source, status)
            return
        if stat.S_ISDIR(mode):
            self._directories.add(path)
        self._writer.add(self._entry(path, source, status))

    def _put_content(self, path: str, source: str, status: os.stat_result) -> None:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Most files have no attributes, and asking for each one that isn't there costs an exception.
            if _has_xattrs(descriptor):
                entry = self._entry(path, source, status)
            else:
                uid, gid = as_root(status)
                entry = Entry(
                    name=path,
                    mode=stat.S_IMODE(status.st_mode),
                    uid=uid,
                    gid=gid,
                    size=status.st_size,
                    mtime_ns=self._mtime(status),
                )
            self._writer.add_file(entry, descriptor)
        finally:
            os.close(descriptor)

    def _entry(self, path: str, source: str, status: os.stat_result) -> Entry:
        mode, device = status.st_mode, status.st_rdev
        uid, gid = as_root(status)
        xattrs = NO_XATTRS
        if _has_xattrs(source):
            mode, device = get_node(source, status)
            uid, gid = get_owner(source, status)
            capability = _capability(source, status)
            xattrs = {_CAPABILITY: capability} if capability is not None else NO_XATTRS
        kind = _KINDS[stat.S_IFMT(mode)]
        is_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
        return Entry(
            name=path,
            kind=kind,
            mode=stat.S_IMODE(mode),
            uid=uid,
            gid=gid,
            size=status.st_size if kind == FILE else 0,
            mtime_ns=self._mtime(status),
            link=os.readlink(source) if kind == SYMLINK else "",
            major=os.major(device) if is_device else 0,
            minor=os.minor(device) if is_device else 0,
            xattrs=xattrs,
        )

    def _mtime(self, status: os.stat_result) -> int:
        """Return a time as it is in the archive: clamped, in whole seconds (but given in nanoseconds)."""
        mtime = status.st_mtime_ns
        return (self._clamp(mtime) if self._clamp else mtime) // _SECOND * _SECOND

    def _add_parents(self, path: str) -> None:
        directory = path.rpartition("/")[0]
        if directory in self._directories:
            return
        source = f"{self._root}/{directory}"
        self._put(directory, source, os.lstat(source))


_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER_DEVICE,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
