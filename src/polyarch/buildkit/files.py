"""Directories sent to a daemon, which asks only for the files that it doesn't have yet.

First all entries are told of, in the order of their paths' parts; then the daemon asks for files by their numbers.

Source: tonistiigi/fsutil, `send.go` and `filter.go`; BuildKit's `session/filesync`.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_plus

from polyarch.buildkit.following import followed
from polyarch.buildkit.messages import Packet, PacketKind, Stat, packet_bytes, read_packet
from polyarch.errors import InputError
from polyarch.inroot import PRIVATE_XATTR_PREFIX, open_regular
from polyarch.record import replace
from polyarch.text.ignore import ContextFilter, Matcher

__all__ = [
    "Directory",
    "directory_method",
    "entries",
    "entry_at",
    "go_mode",
    "send_directory",
    "unix_mode",
]

_CHUNK = 1 << 15
_WILDCARDS = frozenset("*[]?^\\")
_DIRECTORY, _SYMLINK, _DEVICE, _PIPE, _SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_SETUID, _SETGID, _CHARACTER, _STICKY = 1 << 23, 1 << 22, 1 << 21, 1 << 20
_KINDS = {
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFLNK: _SYMLINK,
    stat.S_IFBLK: _DEVICE,
    stat.S_IFCHR: _DEVICE | _CHARACTER,
    stat.S_IFIFO: _PIPE,
    stat.S_IFSOCK: _SOCKET,
}
_BITS = {stat.S_ISUID: _SETUID, stat.S_ISGID: _SETGID, stat.S_ISVTX: _STICKY}


class Directory:
    """A directory that a daemon may read, by its path."""

    def __init__(self, path: Path) -> None:
        self.path = path


def go_mode(mode: int) -> int:
    """Return a mode as Go's `os.FileMode` has it."""
    bits = sum(theirs for ours, theirs in _BITS.items() if mode & ours)
    return mode & 0o777 | bits | _KINDS.get(stat.S_IFMT(mode), 0)


def unix_mode(mode: int) -> int:
    """Return the mode that Go's `os.FileMode` stands for, with the kind of file."""
    bits = sum(ours for ours, theirs in _BITS.items() if mode & theirs)
    kinds = mode & sum((_DIRECTORY, _SYMLINK, _DEVICE, _PIPE, _SOCKET, _CHARACTER))
    found = [ours for ours, theirs in reversed(_KINDS.items()) if kinds and kinds == theirs]
    return mode & 0o777 | bits | (found[0] if found else stat.S_IFREG)


def entries(
    root: Path, *, includes: Sequence[str] = (), excludes: Sequence[str] = ()
) -> Iterator[Stat]:
    """Give the entries of a directory, those that are ignored left out.

    With `includes`, patterns, only what they match and the directories that lead there. Owners are left out: they are
    nobody's business, and root's in images. Of several names of one file the first that is told of is the file,
    the others are links to it.
    """
    filters = _Filters(includes, excludes)
    names: dict[tuple[int, int], str] = {}
    for path, status in _below(root, "", filters):
        told = entry_at(root, path, status)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode) and not told.link:
            first = names.setdefault((status.st_dev, status.st_ino), told.path)
            if first != told.path:
                told = replace(told, size=0, link=first)
        yield told


class _Wanted:
    """What patterns ask for."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._matcher = Matcher(patterns)
        # What is behind a pattern without wildcards lies on its way.
        plain = [each.removesuffix("/**").removesuffix("/*") for each in patterns]
        self._ways = None if any(_WILDCARDS & set(each) for each in plain) else plain

    def has(self, path: str) -> bool:
        return self._matcher.ignores(path)

    def may_be_below(self, directory: str) -> bool:
        """Tell whether a walk has to enter a directory that isn't wanted itself."""
        if self._ways is None:
            return True
        return any(f"{each}/".startswith(f"{directory}/") for each in self._ways)


class _Filters:
    """What of a directory is told of: what is wanted and isn't ignored."""

    def __init__(self, includes: Sequence[str], excludes: Sequence[str]) -> None:
        self._ignored = ContextFilter(Matcher(excludes)) if excludes else None
        self._wanted = _Wanted(includes) if includes else None

    def has(self, path: str) -> bool:
        is_ignored = self._ignored is not None and self._ignored.ignores(path)
        return not is_ignored and (self._wanted is None or self._wanted.has(path))

    def may_have_below(self, directory: str) -> bool:
        """Tell whether a walk has to enter a directory that isn't told of itself."""
        ignored, wanted = self._ignored, self._wanted
        if ignored and ignored.ignores(directory) and not ignored.may_contain_kept(directory):
            return False
        return wanted is None or wanted.has(directory) or wanted.may_be_below(directory)


def _below(root: Path, prefix: str, filters: _Filters) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(root / prefix) as found:
        listed = sorted(found, key=lambda entry: entry.name)
    for entry in listed:
        path = f"{prefix}{entry.name}"
        status = entry.stat(follow_symlinks=False)
        is_told = filters.has(path)
        if not stat.S_ISDIR(status.st_mode):
            if is_told and not stat.S_ISSOCK(status.st_mode):
                yield path, status
        elif is_told or filters.may_have_below(path):
            inner = _below(root, f"{path}/", filters)
            # One that isn't wanted itself is told of if something in it is.
            first = None if is_told else next(inner, None)
            if is_told or first is not None:
                yield path, status
            if first is not None:
                yield first
            yield from inner


def entry_at(root: Path, path: str, status: os.stat_result) -> Stat:
    """Return what is told of the file at a path below `root`, which looks like `status`."""
    is_link = stat.S_ISLNK(status.st_mode)
    is_device = stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)
    return Stat(
        path=os.fsencode(path).decode("utf-8", "replace"),
        mode=go_mode(status.st_mode),
        size=0 if stat.S_ISDIR(status.st_mode) else status.st_size,
        mtime=status.st_mtime_ns,
        link=os.readlink(root / path) if is_link else "",
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
        xattrs=_xattrs(root / path),
    )


def _xattrs(path: Path) -> dict[str, bytes]:
    """Return the extended attributes of a file, as far as they can be read."""
    found = {}
    with suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith(PRIVATE_XATTR_PREFIX):
                continue
            with suppress(OSError):
                found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found


def directory_method(directories: Mapping[str, Directory]) -> Any:
    """Return what answers `FileSync/DiffCopy`: the daemon names one of `directories`."""

    async def send(stream: Any) -> None:
        told = _metadata(stream.metadata)
        name = next(iter(told.get("dir-name", ())), "")
        directory = directories.get(name)
        if directory is None:
            raise InputError(f"no access allowed to dir {name!r}")
        includes = [
            *told.get("include-patterns", ()),
            *followed(directory.path, told.get("followpaths", ())),
        ]
        listed = entries(
            directory.path, includes=includes, excludes=told.get("exclude-patterns", ())
        )
        await _Sending(stream, directory.path).run(listed)

    return send


async def send_directory(stream: Any, root: Path) -> None:
    """Send all of a directory to who asks for its files over `stream`."""
    await _Sending(stream, root).run(entries(root))


def _metadata(metadata: Any) -> dict[str, list[str]]:
    """Return what a daemon said in headers; what isn't ASCII is coded."""
    found: dict[str, list[str]] = {}
    for name in metadata:
        values = [str(each) for each in metadata.getall(name)]
        if metadata.get(f"{name}-encoded") == "1":
            values = [unquote_plus(each) for each in values]
        found[name] = values
    return found


class _Sending:
    """One transfer. Files are read in threads, so that others go on meanwhile."""

    def __init__(self, stream: Any, root: Path) -> None:
        self._stream = stream
        self._root = root
        self._files: dict[int, str] = {}

    async def run(self, listed: Iterable[Stat]) -> None:
        """Tell of all entries, then answer requests until the daemon has all it wants."""
        teller = asyncio.create_task(self._tell(listed))
        try:
            async for message in self._stream:
                packet = read_packet(message)
                if packet.kind == PacketKind.ERROR:
                    raise InputError(
                        f"the builder gave up a transfer: {packet.data.decode(errors='replace')}"
                    )
                if packet.kind == PacketKind.FINISHED:
                    await self._send(Packet(kind=PacketKind.FINISHED))
                    return
                if packet.kind == PacketKind.REQUEST:
                    await self._file(packet.id)
        finally:
            teller.cancel()

    async def _tell(self, listed: Iterable[Stat]) -> None:
        for number, each in enumerate(listed):
            if each.mode & (_DIRECTORY | _SYMLINK | _DEVICE | _PIPE | _SOCKET) == 0:
                self._files[number] = each.path
            await self._send(Packet(kind=PacketKind.STAT, stat=each))
        await self._send(Packet(kind=PacketKind.STAT))

    async def _file(self, number: int) -> None:
        path = self._files.pop(number, None)
        if path is None:
            raise InputError(f"the builder asked for file {number}, which there isn't")
        loop = asyncio.get_running_loop()
        with await loop.run_in_executor(None, self._open, path) as file:
            while data := await loop.run_in_executor(None, file.read, _CHUNK):
                await self._send(Packet(kind=PacketKind.DATA, id=number, data=data))
        await self._send(Packet(kind=PacketKind.DATA, id=number))

    def _open(self, path: str) -> BinaryIO:
        # No link is followed out of the directory, whatever it has become since it was listed.
        return open(open_regular(path, root=self._root), "rb")

    async def _send(self, packet: Packet) -> None:
        await self._stream.send_message(packet_bytes(packet))
