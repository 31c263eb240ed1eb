import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from polyarch.errors import InvalidLayer
from polyarch.layer.tar import Entry, header
from polyarch.layer.tarread import TarReader

HOLE = 1 << 20


def contents(data: bytes) -> dict[str, bytes]:
    reader = TarReader(io.BytesIO(data))
    return {entry.name: b"".join(reader.content()) for entry in reader}


class Trickle:
    """Gives a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 7))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats_of_python(form: int) -> None:
    out = io.BytesIO()
    name = "some/" * 19 + "where" if form == tarfile.USTAR_FORMAT else "ü" * 150
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        member = tarfile.TarInfo(name)
        member.size, member.uid = 3, (5 if form == tarfile.USTAR_FORMAT else 1 << 31)
        archive.addfile(member, io.BytesIO(b"abc"))
    reader = TarReader(Trickle(out.getvalue()))

    assert [(e.name, e.uid, b"".join(reader.content())) for e in reader] == [
        (name, member.uid, b"abc")
    ]


@pytest.mark.parametrize("form", ["gnu", "pax:0.0", "pax:0.1", "pax:1.0"])
def test_sparse_files(tmp_path: Path, form: str) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        for number in range(12):
            file.seek(2 * number * HOLE)
            file.write(b"x" * 5000)
        file.truncate(30 * HOLE)
    kind, _, version = form.partition(":")
    options = [f"--format={kind}", *([f"--sparse-version={version}"] if version else [])]
    command = ["tar", "-C", str(tmp_path), *options, "-Scf", "-", "sparse"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    reader = TarReader(io.BytesIO(data))
    target = tmp_path / "target"
    for entry in reader:
        descriptor = os.open(target, os.O_CREAT | os.O_WRONLY)
        reader.write_to(descriptor, entry)
        os.close(descriptor)
        assert (entry.name, entry.size) == ("sparse", 30 * HOLE)

    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 2 * HOLE


def test_content_that_is_not_asked_for_is_passed_over() -> None:
    one = header(Entry(name="a", size=600)) + bytes(1024)
    data = one + header(Entry(name="b", size=1)) + b"b".ljust(512, b"\0") + bytes(1024)

    assert [entry.name for entry in TarReader(io.BytesIO(data))] == ["a", "b"]
    assert contents(data) == {"a": bytes(600), "b": b"b"}


def test_the_rest_after_the_end_is_read() -> None:
    source = io.BytesIO(bytes(1024) + b"padding" * 1000)

    assert list(TarReader(source)) == []
    assert source.read() == b""


def test_end_without_a_mark_is_an_end() -> None:
    assert contents(header(Entry(name="a"))) == {"a": b""}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            header(Entry(name="a", size=600)) + bytes(100),
            "can't read the entry 'a' at byte 0: .* ends",
        ),
        (header(Entry(name="a"))[:300], "in the middle of a header"),
        (b"x" + header(Entry(name="a"))[1:], "a header's checksum is wrong"),
        (b"no archive" * 100, "is no number|checksum"),
    ],
)
def test_damaged_archives(data: bytes, message: str) -> None:
    with pytest.raises(InvalidLayer, match=message):
        list(TarReader(io.BytesIO(data)))
