"""A directory of the client's, brought here: only files travel that aren't here as they are there.

The client tells of all entries, parents before what is in them; files that differ in size, time or mode are asked for by
their numbers; what it didn't tell of goes.

Source: tonistiigi/fsutil, `receive.go` and `diff.go`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote_plus, urlsplit

from polyarch.buildkit.files import unix_mode
from polyarch.buildkit.messages import Packet, PacketKind, Stat, packet_bytes, read_packet
from polyarch.errors import InputError, IntegrityError, RemoteError
from polyarch.record import frozen
from polyarch.serve.sessions import Session
from polyarch.wire import Message

__all__ = ["Wanted", "pull", "receive"]

_PULL = "/moby.upload.v1.Upload/Pull"
_LARGEST = 2 << 30
"""Bytes of an upload, which is in memory."""
_PATH = "/moby.filesync.v1.FileSync/DiffCopy"

Count = Callable[[int], None]


@frozen
class Wanted:
    """What is wanted of a client's directory: its name; patterns of what is told of, and of what isn't.

    `follow` are paths whose links are followed. Where `keeps_others` is set, what isn't told of stays.
    """

    name: str
    includes: Sequence[str] = ()
    excludes: Sequence[str] = ()
    follow: Sequence[str] = ()
    keeps_others: bool = False

    def metadata(self) -> list[tuple[str, str]]:
        """Return how the client is told of it, in headers."""
        told = [("dir-name", self.name)]
        told += [("include-patterns", each) for each in self.includes]
        told += [("exclude-patterns", each) for each in self.excludes]
        told += [("followpaths", each) for each in self.follow]
        coded = {name for name, value in told if not _is_plain(value)}
        return [
            *((name, quote_plus(value) if name in coded else value) for name, value in told),
            *((f"{name}-encoded", "1") for name in sorted(coded)),
        ]


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


async def receive(
    session: Session, wanted: Wanted, directory: Path, count: Count
) -> frozenset[str]:
    """Make `directory` what the client has; returns the paths that it told of. `count` is told of bytes.

    Raises RemoteError for what the client can't send, IntegrityError for what no directory can hold, and what gRPC
    raises.
    """
    async with session.stream(_PATH, wanted.metadata()) as stream:
        await stream.send_request()
        receiving = _Receiving(stream, directory, count)
        await receiving.run()
    if not wanted.keeps_others:
        receiving.remove_others()
    receiving.set_times()
    return frozenset(receiving.told)


async def pull(session: Session, address: str) -> bytes:
    """Return what the client uploads under an address, as it does with archives of its standard input."""
    url = urlsplit(address)
    metadata = [("urlpath", url.path), ("urlhost", url.netloc)]
    data = bytearray()
    async with session.stream(_PULL, metadata) as stream:
        await stream.send_request(end=True)
        async for message in stream:
            data += Message(message).bytes(1)
            if len(data) > _LARGEST:
                raise InputError(f"a context of more than {_LARGEST} bytes can't be an upload")
    return bytes(data)


class _Receiving:
    """One transfer. Files are made beside their places and renamed, so that links to them never show through."""

    def __init__(self, stream: Any, root: Path, count: Count) -> None:
        self.told: dict[str, Stat] = {}
        self._stream = stream
        self._root = root
        self._count = count
        self._numbers: list[str] = []
        self._awaited: set[int] = set()
        self._files: dict[int, BinaryIO] = {}
        self._links: list[Stat] = []
        self._asked: asyncio.Queue[Packet] = asyncio.Queue()
        self._is_told = False

    async def run(self) -> None:
        # In a task of its own: a client that waits for us to read would else have us wait for it to read.
        sender = asyncio.create_task(self._send())
        try:
            async for message in self._stream:
                self._count(len(message))
                packet = read_packet(message)
                if packet.kind == PacketKind.FINISHED:
                    break
                self._take(packet)
            else:
                raise RemoteError("the client broke off the transfer of a directory")
        finally:
            sender.cancel()
            for file in self._files.values():
                file.close()

    async def _send(self) -> None:
        while True:
            packet = await self._asked.get()
            # The last one says that it is: a client that has answered it resets what isn't ended.
            is_last = packet.kind == PacketKind.FINISHED
            await self._stream.send_message(packet_bytes(packet), end=is_last)

    def _take(self, packet: Packet) -> None:
        if packet.kind == PacketKind.ERROR:
            raise RemoteError(f"error from sender: {packet.data.decode(errors='replace')}")
        if packet.kind == PacketKind.DATA:
            self._data(packet.id, packet.data)
        elif packet.kind == PacketKind.STAT:
            if packet.stat is not None:
                self._entry(packet.stat)
            else:
                self._is_told = True
        if self._is_told and not self._awaited:
            self._is_told = False
            self._link()
            self._asked.put_nowait(Packet(kind=PacketKind.FINISHED))

    def _entry(self, told: Stat) -> None:
        self._check(told)
        number = len(self._numbers)
        self._numbers.append(told.path)
        self.told[told.path] = told
        path = self._root / told.path
        mode = unix_mode(told.mode)
        with suppress(FileNotFoundError):
            status = path.lstat()
            if stat.S_ISREG(mode) and not told.link and _is_same(status, told, mode):
                return
            if not (stat.S_ISDIR(mode) and stat.S_ISDIR(status.st_mode)):
                _remove(path, status)
        if stat.S_ISDIR(mode):
            path.mkdir(exist_ok=True)
        elif stat.S_ISLNK(mode):
            path.symlink_to(told.link)
            os.utime(path, ns=(told.mtime, told.mtime), follow_symlinks=False)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(path, stat.S_IMODE(mode))
        elif stat.S_ISREG(mode) and told.link:
            self._links.append(told)
        elif stat.S_ISREG(mode):
            self._awaited.add(number)
            self._asked.put_nowait(Packet(kind=PacketKind.REQUEST, id=number))

    def _check(self, told: Stat) -> None:
        """Raise IntegrityError for a path that isn't in a directory that was told of, or was told of before.

        A directory that becomes a link later would lead what is in it anywhere.
        """
        parent, _, name = told.path.rpartition("/")
        is_inside = not parent or self._is_directory(parent)
        if told.path in self.told or not is_inside or name in {"", ".", ".."} or "\0" in told.path:
            raise IntegrityError(f"the client told of a file that can't be: {told.path!r}")

    def _is_directory(self, path: str) -> bool:
        told = self.told.get(path)
        return told is not None and stat.S_ISDIR(unix_mode(told.mode))

    def _data(self, number: int, data: bytes) -> None:
        if number not in self._awaited:
            raise IntegrityError(f"the client sent file {number}, which wasn't asked for")
        path = self._root / self._numbers[number]
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = path.open("xb")
        if data:
            file.write(data)
            return
        told = self.told[self._numbers[number]]
        # Writing takes the set-user-ID bit of a file away, unless root writes; so nothing is written after it is set.
        file.flush()
        os.fchmod(file.fileno(), stat.S_IMODE(unix_mode(told.mode)))
        self._files.pop(number).close()
        os.utime(path, ns=(told.mtime, told.mtime))
        self._awaited.discard(number)

    def _link(self) -> None:
        for told in self._links:
            source = self.told.get(told.link)
            if source is None or not stat.S_ISREG(unix_mode(source.mode)):
                raise IntegrityError(
                    f"the client told of a link to what isn't there: {told.path!r}"
                )
            os.link(self._root / told.link, self._root / told.path)

    def remove_others(self) -> None:
        """Remove what the client didn't tell of."""
        for directory, names, files in os.walk(self._root):
            prefix = os.path.relpath(directory, self._root) + "/"
            prefix = "" if prefix == "./" else prefix
            for name in [each for each in names if prefix + each not in self.told]:
                names.remove(name)
                _remove(Path(directory, name), os.lstat(f"{directory}/{name}"))
            for name in files:
                if prefix + name not in self.told:
                    os.unlink(f"{directory}/{name}")

    def set_times(self) -> None:
        """Set the modes and times of directories, which change with what is in them."""
        for path, told in reversed(self.told.items()):
            mode = unix_mode(told.mode)
            if stat.S_ISDIR(mode):
                os.chmod(self._root / path, stat.S_IMODE(mode))
                os.utime(self._root / path, ns=(told.mtime, told.mtime))


def _is_same(status: os.stat_result, told: Stat, mode: int) -> bool:
    found = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found == (mode, told.size, told.mtime)


def _remove(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()
