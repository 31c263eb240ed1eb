"""A result's files without the image, as a tar archive with their owners.

With several platforms each gets a directory of its own, `linux_arm64`; without that they are laid over one
another, and files that differ are refused. `polyarch.exporter.directory` does the same on this machine.
"""

from __future__ import annotations

import filecmp
import os
import stat
import time
from collections.abc import Container, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from polyarch.errors import InputError
from polyarch.exporter.result import FileTree
from polyarch.inroot import get_node, get_owner
from polyarch.layer.tar import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    Entry,
    Sink,
    TarWriter,
)
from polyarch.progress import check_cancelled

__all__ = ["check_same", "directories_above", "walk", "write_tar"]

_CAPABILITY = "security.capability"
_SECOND = 1_000_000_000
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHARACTER_DEVICE,
    stat.S_IFBLK: BLOCK_DEVICE,
}


def walk(directory: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below a directory with its relative path, parents first, sorted by name."""
    todo = _entries(directory, "")
    while todo:
        check_cancelled()
        path, entry = todo.pop()
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            todo += _entries(entry.path, f"{path}/")


def _entries(directory: str, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    with os.scandir(directory) as listing:
        entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
    return [(f"{prefix}{entry.name}", entry) for entry in entries]


def _is_same(one: Path, other: Path) -> bool:
    kind = stat.S_IFMT(one.lstat().st_mode)
    if kind != stat.S_IFMT(other.lstat().st_mode):
        return False
    if kind == stat.S_IFLNK:
        return one.readlink() == other.readlink()
    if kind == stat.S_IFDIR:
        return True
    return kind == stat.S_IFREG and filecmp.cmp(one, other, shallow=False)


def check_same(path: str, first: FileTree, second: FileTree) -> None:
    """Raise InputError if two platforms have something else at a path."""
    if not _is_same(first.root / path, second.root / path):
        raise InputError(
            f"cannot overwrite {path} from {first.platform} with {second.platform} "
            "when split option is disabled",
            hint="leave platform-split=false out",
        )


def write_tar(
    trees: Sequence[FileTree], sink: Sink, *, split: bool, epoch: int | None = None
) -> None:
    """Write the files as a tar archive, sorted by name. Raises InputError for platforms that differ."""
    writer = TarWriter(sink)
    written: dict[str, FileTree] = {}
    for tree in sorted(trees, key=lambda each: each.directory) if split else trees:
        prefix = f"{tree.directory}/" if split else ""
        if split:
            directory = Entry(name=tree.directory, kind=DIRECTORY, mode=0o755)
            writer.add(directory if epoch is None else _timed(directory, epoch))
            written = {}
        above: set[str] = set()
        links: dict[tuple[int, int], str] = {}
        for path, entry in _with_added(tree):
            if entry is None:
                for made, data in _added_members(tree, path, written.keys() | above, epoch):
                    writer.add(made._replace(name=prefix + made.name), data)
                    above.add(made.name)
            elif path in written:
                check_same(path, written[path], tree)
            else:
                written[path] = tree
                member = _member(prefix + path, entry, links)
                if member is not None:
                    _add(writer, member if epoch is None else _timed(member, epoch), entry)
    writer.end()


def directories_above(path: str) -> Iterator[str]:
    """Yield the directories that a relative path leads through, from the top."""
    return accumulate(path.split("/")[:-1], lambda one, other: f"{one}/{other}")


def _with_added(tree: FileTree) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Yield all files of a tree, sorted by name; None for what was added, in whose place there is nothing else."""
    added = sorted(tree.added, key=_by_parts, reverse=True)
    for path, entry in walk(str(tree.root)):
        while added and _by_parts(added[-1]) <= _by_parts(path):
            yield added.pop(), None
        if path not in tree.added:
            yield path, entry
    for name in reversed(added):
        yield name, None


def _by_parts(path: str) -> list[str]:
    return path.split("/")


def _added_members(
    tree: FileTree, path: str, written: Container[str], epoch: int | None
) -> Iterator[tuple[Entry, bytes]]:
    """Yield what the archive says of a file that was added, the directories first that it needs."""
    mtime = (int(time.time()) if epoch is None else epoch) * _SECOND
    for above in directories_above(path):
        if above not in written:
            yield Entry(name=above, kind=DIRECTORY, mode=0o755, mtime_ns=mtime), b""
    data = tree.added[path]
    yield Entry(name=path, mode=0o600, size=len(data), mtime_ns=mtime), data


def _timed(member: Entry, epoch: int) -> Entry:
    return member._replace(mtime_ns=epoch * _SECOND)


def _member(name: str, entry: os.DirEntry[str], links: dict[tuple[int, int], str]) -> Entry | None:
    """Return what the archive says of a file; None for a socket."""
    status = entry.stat(follow_symlinks=False)
    mode, device = get_node(entry.path, status)
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is None:
        return None
    uid, gid = get_owner(entry.path, status)
    key = (status.st_dev, status.st_ino)
    link = os.readlink(entry.path) if kind == SYMLINK else ""
    if status.st_nlink > 1 and kind == FILE:
        link = links.setdefault(key, name)
        kind, link = (HARD_LINK, link) if link != name else (FILE, "")
    is_device = kind in {CHARACTER_DEVICE, BLOCK_DEVICE}
    return Entry(
        name=name,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=uid,
        gid=gid,
        size=status.st_size if kind == FILE else 0,
        mtime_ns=status.st_mtime_ns // _SECOND * _SECOND,
        link=link,
        major=os.major(device) if is_device else 0,
        minor=os.minor(device) if is_device else 0,
        xattrs=_capability(entry.path) if kind == FILE else {},
    )


def _add(writer: TarWriter, member: Entry, entry: os.DirEntry[str]) -> None:
    if member.kind != FILE:
        writer.add(member)
        return
    with open(entry.path, "rb", buffering=0) as stream:
        writer.add_file(member, stream.fileno())


def _capability(path: str) -> dict[str, bytes]:
    try:
        return {_CAPABILITY: os.getxattr(path, _CAPABILITY)}
    except OSError:
        return {}
