"""Pieces as frames: small where they can be, plain where not, and any zstd reads both."""

from __future__ import annotations

import random

import pytest

from polyarch.errors import InvalidLayer
from polyarch.layer.frames import Framer, decompress_piece, zstd_library

NOISE = random.Random(1).randbytes(300_000)
TEXT = b"the same words again and again " * 10_000


@pytest.mark.parametrize("size", [0, 1, 127 << 10, 128 << 10, (128 << 10) + 1, 256 << 10, 300_000])
def test_what_cannot_be_compressed_is_wrapped_as_it_is(size: int) -> None:
    frame = Framer().frame(memoryview(NOISE)[:size])

    assert zstd_library().decompress(frame) == NOISE[:size]
    assert decompress_piece(frame, size) == NOISE[:size]
    assert len(frame) <= size + 32


def test_what_is_dense_in_part_is_compressed() -> None:
    data = NOISE[:150_000] + bytes(100_000) + NOISE[150_000:]

    assert len(Framer().frame(data)) < len(NOISE) + 1000


def test_a_frame_depends_on_nothing_before_it() -> None:
    framer = Framer()
    first = framer.frame(TEXT)
    framer.frame(NOISE)

    assert len(first) < len(TEXT) // 100
    assert framer.frame(memoryview(TEXT)) == first == Framer().frame(TEXT)


def test_a_plain_frame_that_is_cut_short_is_refused() -> None:
    with pytest.raises(InvalidLayer, match="cut short"):
        decompress_piece(Framer().frame(NOISE)[:-1], len(NOISE))
