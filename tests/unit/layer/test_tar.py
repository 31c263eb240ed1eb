import io
import tarfile
from pathlib import Path

import pytest

from polyarch.errors import StoreError
from polyarch.layer.tar import (
    CHARACTER_DEVICE,
    DIRECTORY,
    HARD_LINK,
    SYMLINK,
    Entry,
    TarWriter,
    header,
)
from polyarch.layer.tarread import TarReader

T = 1_600_000_000 * 10**9


def written(*entries: tuple[Entry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, content in entries:
        writer.add(entry, content)
    writer.end()
    return out.getvalue()


def test_empty_archive_is_two_blocks() -> None:
    assert written() == bytes(1024)


def test_plain_header_is_exactly_this() -> None:
    block = header(Entry(name="a/f", mode=0o4755, uid=1, gid=2, size=3, mtime_ns=T + 10**9))

    assert block == (
        b"a/f".ljust(100, b"\0")
        + b"0004755\0"
        + b"0000001\0"
        + b"0000002\0"
        + b"00000000003\0"
        + b"13727410001\0"
        + b"007632\0 "
        + b"0"
        + bytes(100)
        + b"ustar\x0000"
        + bytes(64)
        + b"0000000\x000000000\0"
        + bytes(167)
    )


@pytest.mark.parametrize("size", [0, 1, 512, 70_000, 3_000_000])
def test_a_file_is_added_as_its_content_would_be(tmp_path: Path, size: int) -> None:
    content = bytes(range(250)) * (size // 250 + 1)
    (tmp_path / "f").write_bytes(content[:size])
    entry, out = Entry(name="f", size=size), io.BytesIO()
    writer = TarWriter(out)
    with (tmp_path / "f").open("rb", buffering=0) as stream:
        writer.add_file(entry, stream.fileno())
    writer.end()

    assert out.getvalue() == written((entry, content[:size]))


def test_a_checksum_is_the_sum_of_all_bytes_however_many() -> None:
    most = "\x7f" * 100
    block = header(Entry(name=most, kind=SYMLINK, mode=0o7777777, uid=0o7777777, link=most))

    without = block[:148] + b" " * 8 + block[156:]
    assert block[148:156] == b"%06o\0 " % sum(without)
    assert sum(without) > 1 << 14


@pytest.mark.parametrize(
    "entry",
    [
        Entry(name="d", kind=DIRECTORY, mode=0o755, mtime_ns=T),
        Entry(name="l", kind=SYMLINK, mode=0o777, link="../x"),
        Entry(name="h", kind=HARD_LINK, link="a"),
        Entry(name="c", kind=CHARACTER_DEVICE, mode=0o666, major=1, minor=3),
        Entry(name="n" * 101, mtime_ns=T),
        Entry(name="d/" * 80 + "f", mode=0o644),
        Entry(name="dé" * 60, kind=DIRECTORY),
        Entry(name="odd\udcff"),
        Entry(name="l", kind=SYMLINK, link="é" + "x" * 200),
        Entry(name="big", uid=1 << 21, gid=1 << 30),
        Entry(name="old", mtime_ns=-5 * 10**9),
        Entry(name="future", mtime_ns=(1 << 33) * 10**9),
        Entry(name="exact", mtime_ns=T + 120_000_000),
        Entry(name="caps", xattrs={"security.capability": b"\1\0\0\2=\n\0\xff"}),
    ],
    ids=lambda entry: str(entry.name)[:10],
)
def test_entries_come_back(entry: Entry) -> None:
    assert list(TarReader(io.BytesIO(written((entry, b""))))) == [entry]


def test_whiteout_with_a_long_name_uses_the_prefix_field() -> None:
    name = "d" * 90 + "/.wh." + "n" * 20
    block = header(Entry(name=name, split=True))

    assert (len(block), block[345:435], block[:25]) == (512, b"d" * 90, b".wh." + b"n" * 20 + b"\0")
    assert [e.name for e in TarReader(io.BytesIO(block + bytes(1024)))] == [name]


def test_long_name_gives_a_pax_header_named_as_go_names_it() -> None:
    blocks = header(Entry(name="dir/" + "n" * 100))

    assert (len(blocks), blocks[:20], blocks[156:157]) == (1536, b"dir/PaxHeaders.0/nnn", b"x")
    assert blocks[512:].startswith(b"114 path=dir/nnn")


def test_python_reads_what_is_written() -> None:
    data = written(
        (Entry(name="d", kind=DIRECTORY, mode=0o755, mtime_ns=T), b""),
        (Entry(name="d/" + "é" * 100, size=5, mode=0o644, uid=1 << 22), b"hello"),
    )

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        assert [(m.name, m.uid, m.isdir()) for m in members] == [
            ("d", 0, True),
            ("d/" + "é" * 100, 1 << 22, False),
        ]


def test_a_file_that_shrinks_is_noticed() -> None:
    with open("/dev/null", "rb") as empty, pytest.raises(StoreError, match="'f' became shorter"):
        TarWriter(io.BytesIO()).add_file(Entry(name="f", size=5), empty.fileno())
