"""Content codings: what is decoded, what is the file itself, what is refused. As BuildKit has it, but for the last."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import RemoteError
from polyarch.http.coding import decoded, is_coded
from polyarch.http.connection import Fields, ProtocolError

DATA = b"hello file\n" * 100
CODED = gzip.compress(DATA, mtime=0)


def fields(*codings: str) -> Fields:
    return Fields(pairs=tuple(("content-encoding", each) for each in codings))


def decode(body: bytes, *codings: str, piece: int = 7) -> bytes:
    pieces = (body[at : at + piece] for at in range(0, len(body), piece))
    return b"".join(decoded(pieces, fields(*codings), 1 << 20))


@pytest.mark.parametrize(
    "codings", [("gzip",), ("GZip",), ("identity, gzip",), ("identity", "gzip")]
)
def test_gzip_is_decoded(codings: tuple[str, ...]) -> None:
    assert decode(CODED, *codings) == DATA
    assert decode(CODED + CODED, *codings) == DATA + DATA
    assert decode(b"", *codings) == b""
    assert is_coded(fields(*codings))


@pytest.mark.parametrize("coding", ["", "identity", "x-gzip", "aws-chunked"])
def test_what_says_nothing_of_the_way(coding: str) -> None:
    assert decode(CODED, coding) == CODED
    assert not is_coded(fields(coding))


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "utf-8"])
def test_what_is_not_known_is_named(coding: str) -> None:
    with pytest.raises(RemoteError, match=f"content coding '{coding}', which isn't supported"):
        decode(b"body", coding)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (CODED[:-1], "ends too early"),
        (CODED[:5], "ends too early"),
        (CODED + bytes(512), "is damaged"),
        (CODED + b"garbage", "is damaged"),
        (DATA, "is damaged"),
        (CODED[:-8] + bytes(8), "is damaged"),
    ],
)
def test_what_is_damaged(body: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        decode(body, "gzip")


def test_a_bomb_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(64 << 20))

    sizes = [len(each) for each in decoded(iter([bomb]), fields("gzip"), 1 << 16)]

    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 16


def test_who_reads_is_asked_again_while_nothing_comes() -> None:
    empty = gzip.compress(b"")

    pieces = decoded(iter([empty] * 1000), fields("gzip"), 1 << 16)

    assert [next(pieces) for _ in range(1000)] == [b""] * 1000


@given(st.binary(max_size=5000), st.integers(1, 9), st.integers(1, 300), st.integers(1, 300))
def test_however_it_is_cut(data: bytes, level: int, piece: int, size: int) -> None:
    coder = zlib.compressobj(level, wbits=31)
    body = coder.compress(data) + coder.flush()
    pieces = (body[at : at + piece] for at in range(0, len(body), piece))

    found = list(decoded(pieces, fields("gzip"), size))

    assert b"".join(found) == data
