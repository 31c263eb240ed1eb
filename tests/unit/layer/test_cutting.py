"""Where streams are cut: by what they hold, whatever was before."""

from __future__ import annotations

import random
from hashlib import sha256
from itertools import accumulate

import pytest

from polyarch.layer.cutting import COARSE, FINE, Cutter, Grain

NOISE = random.Random(1).randbytes(8 << 20)
WORDS = ["".join(random.Random(n).choices("aeilnorstdcmu", k=2 + n % 9)) for n in range(3000)]
TEXT = " ".join(random.Random(2).choices(WORDS, k=1_000_000)).encode()


def cut(data: bytes, chunk: int = 1 << 16, grain: Grain = FINE) -> list[bytes]:
    pieces: list[bytes] = []
    cutter = Cutter(grain, lambda piece: pieces.append(bytes(piece)))
    for start in range(0, len(data), chunk):
        cutter.write(data[start : start + chunk])
    cutter.finish()
    return pieces


@pytest.mark.parametrize("grain", [FINE, COARSE])
@pytest.mark.parametrize("data", [b"", b"short", NOISE, TEXT, bytes(3 << 20)])
def test_pieces_are_the_whole_and_none_is_too_long(data: bytes, grain: Grain) -> None:
    pieces = cut(data, grain=grain)

    assert b"".join(pieces) == data
    assert all(grain.least <= len(piece) <= grain.most for piece in pieces[:-1])


def test_how_a_stream_comes_does_not_matter() -> None:
    assert cut(NOISE, 1 << 20) == cut(NOISE, 12_345)


@pytest.mark.parametrize("data", [NOISE, TEXT])
def test_what_is_put_in_moves_no_cuts_but_those_beside_it(data: bytes) -> None:
    before = cut(data)
    after = cut(data[: len(data) // 3] + b"put in" + data[len(data) // 3 :])

    assert sum(map(len, set(after) - set(before))) < 1 << 20


def test_runs_of_one_byte_are_one_piece_again_and_again() -> None:
    assert len(set(cut(bytes(8 << 20)))) == 1


def test_cuts_stay_where_caches_have_them() -> None:
    ends = list(accumulate(map(len, cut(NOISE))))

    assert ends[:4] == [70098, 147566, 360764, 508229]
    assert sha256(repr(ends).encode()).hexdigest() == (
        "d9e78bcc8d4199a5344c70c11e1ca6c4aadfd244a5026f63ab6b5a2da29c8cdc"
    )


@pytest.mark.parametrize("grain", [FINE, COARSE])
@pytest.mark.parametrize("chunk", [1_000, 300_001, 3 << 20, 16 << 20])
def test_how_much_comes_at_once_does_not_matter(chunk: int, grain: Grain) -> None:
    data = NOISE + bytes(3 << 20) + TEXT

    assert cut(data, chunk, grain) == cut(data, 1 << 16, grain)
