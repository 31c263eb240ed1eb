"""eStargz: read as gzip, and by its table of contents; the same bytes whatever the threads."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

import pytest

from polyarch.digest import sha256
from polyarch.errors import InvalidLayer
from polyarch.layer.compress import Compressed, compress
from polyarch.layer.hashing import HashingSink
from polyarch.layer.kinds import TOC_DIGEST, UNCOMPRESSED_SIZE, Compression
from polyarch.layer.tar import Sink

CHUNK = 4 << 20
LARGE = bytes(range(256)) * (CHUNK // 256 * 2) + b"the rest"


class Kept:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes, /) -> None:
        self.data += data


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mtime = kind, link, 1_700_000_000
    return found


ALL = archive(
    (member("etc", tarfile.DIRTYPE), b""),
    (member("etc/<motd>"), b"hello"),
    (member("etc/empty"), b""),
    (member("link", tarfile.SYMTYPE, "etc/<motd>"), b""),
    (member("large"), LARGE),
    (member("again", tarfile.LNKTYPE, "large"), b""),
    *((member(f"many/{number}"), b"%d" % number * 3000) for number in range(200)),
)


def made_of(
    data: bytes, level: int | None = None, piece: int = 100_000
) -> tuple[bytes, Compressed]:
    kept = Kept()

    def produce(sink: Sink) -> None:
        for at in range(0, len(data), piece):
            sink.write(data[at : at + piece])

    with HashingSink(kept) as sink:
        told = compress(produce, sink, Compression.ESTARGZ, level)
    return bytes(kept.data), told


def toc_of(blob: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the table of contents by the place that the footer tells of."""
    footer = blob[-51:]
    assert gzip.decompress(footer) == b""
    assert footer[12:16] == b"SG\x16\x00"
    assert footer[32:38] == b"STARGZ"
    packed = gzip.decompress(blob[int(footer[16:32], 16) : -51])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        opened = tar.extractfile("stargz.index.json")
        assert opened
        data = opened.read()
    return data, json.loads(data)


def test_it_is_a_gzip_of_the_archive_and_its_table() -> None:
    blob, told = made_of(ALL)

    unpacked = gzip.decompress(blob)
    assert unpacked.startswith(ALL)
    assert (str(told.archive), str(told.diff_id)) == (sha256(ALL), sha256(unpacked))
    assert (told.digest, told.size) == (sha256(blob), len(blob))
    toc, _ = toc_of(blob)
    assert told.annotations == {
        TOC_DIGEST: sha256(toc),
        UNCOMPRESSED_SIZE: str(len(unpacked)),
    }


def test_each_file_is_read_from_where_the_table_says() -> None:
    blob, _ = made_of(ALL)
    _, toc = toc_of(blob)

    contents: dict[str, bytes] = {}
    for entry in toc["entries"]:
        if "offset" in entry:
            # A member has what follows the content, too.
            size = entry.get("chunkSize") or entry.get("size", 0) or len(LARGE) - 2 * CHUNK
            data = gzip.GzipFile(fileobj=io.BytesIO(blob[entry["offset"] :])).read(size)
            assert entry["chunkDigest"] == sha256(data)
            contents[entry["name"]] = contents.get(entry["name"], b"") + data
    assert contents["etc/<motd>"] == b"hello"
    assert contents["large"] == LARGE
    assert contents["many/123"] == b"123" * 3000
    assert len(contents) == 202


def test_what_the_table_says_of_files() -> None:
    _, toc = toc_of(made_of(ALL)[0])
    by_name = {entry["name"]: entry for entry in toc["entries"] if entry["type"] != "chunk"}
    time = "2023-11-14T22:13:20Z"

    assert by_name["etc/"] == {"name": "etc/", "type": "dir", "modtime": time, "mode": 0o644}
    assert by_name["link"]["linkName"] == "etc/<motd>"
    assert by_name["again"] == {
        "name": "again", "type": "hardlink", "modtime": time, "linkName": "large", "mode": 0o644,
    }  # fmt: skip
    assert by_name["etc/empty"]["digest"] == f"sha256:{hashlib.sha256(b'').hexdigest()}"
    assert by_name["large"]["digest"] == sha256(LARGE)
    assert (by_name["large"]["size"], by_name["large"]["chunkSize"]) == (len(LARGE), CHUNK)
    assert [entry["chunkOffset"] for entry in toc["entries"] if entry["type"] == "chunk"] == [
        CHUNK,
        2 * CHUNK,
    ]


def test_the_bytes_depend_on_neither_threads_nor_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = made_of(ALL)

    for processors in (1, 3, 8):
        monkeypatch.setattr("os.cpu_count", lambda found=processors: found)
        assert made_of(ALL, piece=7777 * processors)[0] == expected


def test_a_level_that_is_asked_for() -> None:
    assert len(made_of(ALL, 9)[0]) < len(made_of(ALL, 1)[0])


@pytest.mark.parametrize("name", ["stargz.index.json", "./stargz.index.json"])
def test_an_archive_that_has_a_table_already(name: str) -> None:
    with pytest.raises(InvalidLayer, match="eStargz can't hold"):
        made_of(archive((member(name), b"{}")))


def test_an_archive_that_breaks_off() -> None:
    with pytest.raises(InvalidLayer, match="ends in the middle"):
        made_of(ALL[: 3 << 20])
