"""Directories of clients, brought here: what is asked for, and what is refused."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from polyarch.buildkit.files import entries, go_mode, unix_mode
from polyarch.buildkit.messages import Packet, PacketKind, Stat, packet_bytes, read_packet
from polyarch.errors import IntegrityError, RemoteError
from polyarch.serve.receiving import Wanted, pull, receive
from polyarch.wire import field
from tests.support.images.trees import plant

FILE, DIRECTORY, LINK = (go_mode(kind) for kind in (0o100644, 0o040755, 0o120777))


class Client:
    """A client that tells of entries, and has the contents of files by path; in place of a session."""

    def __init__(self, told: list[Stat], contents: dict[str, bytes], *more: Packet) -> None:
        self.told = told
        self.contents = contents
        self.more = more
        self.asked: list[str] = []
        self.metadata: list[tuple[str, str]] = []

    @asynccontextmanager
    async def stream(self, _path: str, metadata: list[tuple[str, str]]) -> AsyncIterator[Any]:
        self.metadata = metadata
        yield _Stream(self)


class _Stream:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._packets: asyncio.Queue[Packet | None] = asyncio.Queue()

    async def send_request(self, **_: object) -> None:
        for each in self._client.told:
            self._packets.put_nowait(Packet(kind=PacketKind.STAT, stat=each))
        for packet in self._client.more:
            self._packets.put_nowait(packet)
        self._packets.put_nowait(Packet(kind=PacketKind.STAT))

    async def send_message(self, message: bytes, *, end: bool) -> None:
        packet = read_packet(message)
        if packet.kind == PacketKind.FINISHED:
            assert end
            self._packets.put_nowait(Packet(kind=PacketKind.FINISHED))
            self._packets.put_nowait(None)
            return
        path = self._client.told[packet.id].path
        self._client.asked.append(path)
        for data in filter(None, (self._client.contents[path],)):
            self._packets.put_nowait(Packet(kind=PacketKind.DATA, id=packet.id, data=data))
        self._packets.put_nowait(Packet(kind=PacketKind.DATA, id=packet.id))

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> bytes:
        packet = await self._packets.get()
        if packet is None:
            raise StopAsyncIteration
        return packet_bytes(packet)


def bring(client: Client, directory: Path, **wanted: Any) -> frozenset[str]:
    session: Any = client
    return asyncio.run(receive(session, Wanted(name="c", **wanted), directory, lambda _: None))


def test_a_directory_comes_as_it_is(tmp_path: Path) -> None:
    there = plant(tmp_path / "there", {"a": "1", "d/b": "22"})
    (there / "d" / "l").symlink_to("../a")
    (there / "a").chmod(0o4751)
    os.utime(there / "d", ns=(5, 7))
    told = list(entries(there))
    client = Client(told, {"a": b"1", "d/b": b"22"})
    here = plant(tmp_path / "here", {"old/x": "x", "d/old": "x", "a/was": "a directory"})

    found = bring(client, here)
    again = Client(told, {})
    bring(again, here)

    assert found == {"a", "d", "d/b", "d/l"}
    assert list(entries(here)) == told
    assert (here / "d" / "l").read_text() == "1"
    assert (client.asked, again.asked) == (["a", "d/b"], [])


def test_hard_links_are_made(tmp_path: Path) -> None:
    told = [Stat(path="a", mode=FILE, size=1), Stat(path="b", mode=FILE, size=1, link="a")]

    bring(Client(told, {"a": b"x"}), tmp_path)

    assert os.path.samefile(tmp_path / "a", tmp_path / "b")


def test_others_stay_where_that_is_wanted(tmp_path: Path) -> None:
    plant(tmp_path, {"other": "x"})

    bring(Client([Stat(path="a", mode=FILE)], {"a": b""}), tmp_path, keeps_others=True)

    assert sorted(os.listdir(tmp_path)) == ["a", "other"]


@pytest.mark.parametrize(
    "told",
    [
        [Stat(path="../x", mode=FILE)],
        [Stat(path="/etc/x", mode=FILE)],
        [Stat(path="a/x", mode=FILE)],
        [Stat(path="..", mode=DIRECTORY)],
        [Stat(path="", mode=FILE)],
        [Stat(path="l", mode=LINK, link="/etc"), Stat(path="l/x", mode=FILE)],
        [Stat(path="b", mode=FILE, link="/etc/passwd")],
        [
            Stat(path="a", mode=DIRECTORY),
            Stat(path="a/x", mode=FILE),
            Stat(path="a", mode=LINK, link="/etc"),
        ],
    ],
)
def test_paths_that_lead_elsewhere_are_refused(tmp_path: Path, told: list[Stat]) -> None:
    client = Client(told, {each.path: b"bad" for each in told})

    with pytest.raises(IntegrityError):
        bring(client, tmp_path)

    assert not any(path.is_file() and not path.is_symlink() for path in tmp_path.rglob("*"))


def test_clients_that_fail(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="error from sender: no"):
        bring(Client([], {}, Packet(kind=PacketKind.ERROR, data=b"no")), tmp_path)
    with pytest.raises(IntegrityError, match="wasn't asked for"):
        bring(Client([], {}, Packet(kind=PacketKind.DATA, id=3, data=b"x")), tmp_path)


def test_what_is_wanted_is_told_in_headers(tmp_path: Path) -> None:
    client = Client([], {})

    bring(client, tmp_path, excludes=["*.log", "ä"], follow=["src"])

    assert client.metadata == [
        ("dir-name", "c"),
        ("exclude-patterns", "%2A.log"),
        ("exclude-patterns", "%C3%A4"),
        ("followpaths", "src"),
        ("exclude-patterns-encoded", "1"),
    ]


def test_an_upload_is_pulled() -> None:
    class Upload:
        @asynccontextmanager
        async def stream(self, _path: str, metadata: list[tuple[str, str]]) -> AsyncIterator[Any]:
            assert metadata == [("urlpath", "/id"), ("urlhost", "buildkit-session")]
            yield self

        async def send_request(self, *, end: bool) -> None:
            assert end

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for part in (b"ab", b"c"):
                yield field(1, part)

    session: Any = Upload()
    assert asyncio.run(pull(session, "http://buildkit-session/id")) == b"abc"


@pytest.mark.parametrize(
    "mode", [0o100644, 0o040755, 0o120777, 0o104755, 0o041777, 0o010600, 0o020600, 0o060600]
)
def test_modes_come_back(mode: int) -> None:
    assert unix_mode(go_mode(mode)) == mode
    assert stat.S_IFMT(unix_mode(go_mode(mode))) == stat.S_IFMT(mode)
