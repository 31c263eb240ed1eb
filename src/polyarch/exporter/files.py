"""A result's files without the image: in a folder of this machine, or as a tar archive.

With several platforms each gets a folder of its own, `linux_arm64`; without that they are laid over one
another, and files that differ are refused. In a folder everything belongs to whoever asked for it; an
archive keeps the owners.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
from polyarch.store.trouble import output_trouble

__all__ = ["write_files", "write_tar"]

_CAPABILITY = "security.capability"
_SECOND = 1_000_000_000
_PIECE = 1 << 26
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHARACTER_DEVICE,
    stat.S_IFBLK: BLOCK_DEVICE,
}


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below a folder with its relative path, parents first, sorted by name."""
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        check_cancelled()
        path = f"{prefix}{entry.name}"
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{path}/")


def write_files(
    trees: Sequence[FileTree], folder: Path, *, split: bool, epoch: int | None = None
) -> None:
    """Copy the files into `folder`, which is made if it is missing; what is there already stays.

    `epoch` is the time that all of them get, in seconds; None leaves them their own. Raises InputError if two platforms differ in a file and aren't kept apart, StoreError.
    """
    with output_trouble("write to", folder):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        written: dict[str, FileTree] = {}
        for tree in trees:
            target = folder / tree.folder if split else folder
            target.mkdir(exist_ok=True)
            folders = []
            for path, entry in _walk(str(tree.root), ""):
                if not split and path in written:
                    _check_same(path, written[path], tree)
                written[path] = tree
                _place(entry, target / path, epoch)
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry, target / path))
            for entry, place in reversed(folders):
                _finish(place, entry.stat(follow_symlinks=False), epoch)


def _check_same(path: str, first: FileTree, second: FileTree) -> None:
    one, other = first.root / path, second.root / path
    if one.is_symlink() or other.is_symlink():
        is_same = one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    elif one.is_dir() or other.is_dir():
        is_same = one.is_dir() and other.is_dir()
    else:
        is_same = one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()
    if not is_same:
        raise InputError(
            f"cannot overwrite /{path} from {first.platform} with {second.platform} "
            "when split option is disabled",
            hint="leave platform-split=false out",
        )


def _place(entry: os.DirEntry[str], target: Path, epoch: int | None) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            target.unlink()
        target.mkdir(exist_ok=True)
        return
    with suppress(FileNotFoundError):
        target.unlink()
    mode, _ = get_node(entry.path, status)
    if stat.S_ISREG(mode):
        _copy(entry.path, target, status.st_size)
    elif stat.S_ISLNK(mode):
        target.symlink_to(os.readlink(entry.path))
    elif stat.S_ISFIFO(mode):
        os.mkfifo(target)
    else:
        return  # devices and sockets mean nothing outside of an image
    _finish(target, status, epoch)


def _copy(source: str, target: Path, size: int) -> None:
    with open(source, "rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        left = size
        while left and (count := os.sendfile(writer.fileno(), reader.fileno(), None, _PIECE)):
            check_cancelled()
            left -= count


def _finish(target: Path, status: os.stat_result, epoch: int | None) -> None:
    if not target.is_symlink():
        target.chmod(stat.S_IMODE(status.st_mode))
    mtime = status.st_mtime_ns if epoch is None else epoch * _SECOND
    os.utime(target, ns=(mtime, mtime), follow_symlinks=False)


def write_tar(
    trees: Sequence[FileTree], sink: Sink, *, split: bool, epoch: int | None = None
) -> None:
    """Write the files as a tar archive. Raises InputError as `write_files`, StoreError."""
    writer = TarWriter(sink)
    written: dict[str, FileTree] = {}
    for tree in trees:
        prefix = f"{tree.folder}/" if split else ""
        if split:
            writer.add(Entry(name=tree.folder, kind=DIRECTORY, mode=0o755))
        links: dict[tuple[int, int], str] = {}
        for path, entry in _walk(str(tree.root), ""):
            if not split and path in written:
                _check_same(path, written[path], tree)
                continue
            written[path] = tree
            member = _member(prefix + path, entry, links)
            if member is not None:
                _add(writer, member if epoch is None else _timed(member, epoch), entry)
    writer.end()


def _timed(member: Entry, epoch: int) -> Entry:
    return dataclasses.replace(member, mtime_ns=epoch * _SECOND)


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
