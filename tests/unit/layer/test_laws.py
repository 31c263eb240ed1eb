"""Laws of archives and layers: what is written is read, by us and by Python; changes make the tree."""

from __future__ import annotations

import io
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.errors import InvalidLayer
from polyarch.layer.apply import apply
from polyarch.layer.changes import layer_changes, write_changes
from polyarch.layer.tar import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    Entry,
    TarWriter,
)
from polyarch.layer.tarread import TarReader
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.layerform import make_opaque
from polyarch.store.store import Store
from tests.support.images.trees import look_at, plant

PARTS = st.text("aé=. \n", min_size=1, max_size=4) | st.sampled_from(
    ["n" * 99, "n" * 130, "\udcff"]
)
NAMES = st.lists(PARTS.filter(lambda part: part.strip(".")), min_size=1, max_size=3).map("/".join)
NUMBERS = st.integers(0, 2**21 - 1) | st.integers(2**21, 2**32 - 2)
SECOND = 10**9


@st.composite
def members(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(
        st.sampled_from([FILE, HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO])
    )
    content = draw(st.binary(max_size=600)) if kind == FILE else b""
    is_device = kind in {CHARACTER_DEVICE, BLOCK_DEVICE}
    numbers = st.integers(0, 2**12 - 1) if is_device else st.just(0)
    entry = Entry(
        name=draw(NAMES),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(NUMBERS),
        gid=draw(NUMBERS),
        size=len(content),
        mtime_ns=draw(
            st.integers(-(2**34), 2**34).map(lambda seconds: seconds * SECOND)
            | st.integers(-(2**34) * SECOND, 2**34 * SECOND)
        ),
        link=draw(NAMES) if kind in {HARD_LINK, SYMLINK} else "",
        major=draw(numbers),
        minor=draw(numbers),
        xattrs=draw(
            st.dictionaries(
                st.sampled_from(["security.capability", "user.a"]), st.binary(max_size=20)
            )
        )
        if kind == FILE
        else {},
    )
    return entry, content


ARCHIVES = st.lists(members(), max_size=4)


def written(archive: list[tuple[Entry, bytes]]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, content in archive:
        writer.add(entry, content)
    writer.end()
    return out.getvalue()


@settings(max_examples=40, deadline=None)
@given(archive=ARCHIVES)
def test_what_is_written_is_read(archive: list[tuple[Entry, bytes]]) -> None:
    reader = TarReader(io.BytesIO(written(archive)))

    assert [(entry, b"".join(reader.content())) for entry in reader] == archive


@settings(max_examples=40, deadline=None)
@given(archive=ARCHIVES)
def test_python_reads_the_same(archive: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(archive))) as found:
        for member, (entry, content) in zip(found.getmembers(), archive, strict=True):
            assert (member.name, member.type) == (entry.name, entry.kind.encode())
            assert (member.mode, member.uid, member.gid) == (entry.mode, entry.uid, entry.gid)
            assert abs(member.mtime - entry.mtime_ns / SECOND) < 1e-5
            assert (member.linkname, member.size) == (entry.link, entry.size)
            if entry.kind == FILE:
                stream = found.extractfile(member)
                assert stream is not None
                assert stream.read() == content


@settings(max_examples=40, deadline=None)
@given(archive=ARCHIVES, size=st.integers(1, 600))
def test_bytes_may_come_in_any_portions(archive: list[tuple[Entry, bytes]], size: int) -> None:
    class Portions:
        def __init__(self) -> None:
            self.file = io.BytesIO(written(archive))

        def read(self, limit: int, /) -> bytes:
            return self.file.read(min(limit, size))

    reader = TarReader(Portions())

    assert [(entry, b"".join(reader.content())) for entry in reader] == archive


@settings(max_examples=40, deadline=None)
@given(
    archive=st.lists(members(), min_size=1, max_size=2),
    place=st.integers(0, 2000),
    byte=st.integers(0, 255),
    end=st.integers(0, 4000),
)
def test_damage_is_ours_to_tell(
    archive: list[tuple[Entry, bytes]], place: int, byte: int, end: int
) -> None:
    data = bytearray(written(archive))
    data[place % len(data)] = byte

    for damaged in (bytes(data), bytes(data[:end])):
        with suppress(InvalidLayer):
            reader = TarReader(io.BytesIO(damaged))
            for entry in reader:
                assert entry.size >= 0
                assert sum(map(len, reader.content())) <= len(damaged)


@given(block=st.binary(min_size=512, max_size=1536))
def test_anything_may_pretend_to_be_an_archive(block: bytes) -> None:
    whole = bytearray(block[: len(block) // 512 * 512])
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:512])

    with suppress(InvalidLayer):
        for _ in TarReader(io.BytesIO(bytes(whole))):
            pass


PLACES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(
    PLACES, st.none() | st.sampled_from(["", "text", "more", "-> a"]), max_size=7
)
BASE, TOP = SnapshotID("base"), SnapshotID("top")


def grow(root: Path, tree: dict[str, str | None]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in sorted(tree.items()):
        above = [root / name[:end] for end, each in enumerate(name) if each == "/"]
        if all(not path.is_symlink() and (path.is_dir() or not path.exists()) for path in above):
            plant(root, {name: text})
    return root


@given(before=TREES, after=TREES)
@settings(max_examples=50, deadline=None)
def test_changes_over_what_was_make_what_is(
    before: dict[str, str | None], after: dict[str, str | None]
) -> None:
    with tempfile.TemporaryDirectory() as name, Store(Path(name) / "store") as store:
        old, new = Path(name) / "old", Path(name) / "new"
        grow(old / "hiding", before)
        # Below a directory that hides what it is over, any tree may become any other.
        make_opaque(str(grow(new / "hiding", after)))
        out = io.BytesIO()
        write_changes(new, layer_changes(new, [old]), out)
        snapshots = NativeSnapshotter(store)
        snapshots.unpack(BASE, lambda directory: grow(directory / "hiding", before))
        lowers = [snapshots.path(BASE)]
        snapshots.unpack(
            TOP, lambda directory: apply(io.BytesIO(out.getvalue()), directory, lowers=lowers)
        )

        with snapshots.view([BASE, TOP]) as merged:
            assert look_at(merged) == look_at(new)
