from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.cli.display.cells import cell_width, clip_cells
from polyarch.cli.display.screen import screen_lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"10%\r20%", ["20%"]),
        (b"long\rab", ["abng"]),
        (b"long\r\x1b[Kab", ["ab"]),
        (b"ab\b\bc", ["cb"]),
        (b"a\tb", ["a       b"]),
        (b"\x1b[31mred\x1b[0m", ["red"]),
        (b"one\ntwo\n\x1b[2A\x1b[2Kuno\n", ["uno", "two"]),
        (b"abcdefghijklm", ["abcdefghij", "klm"]),
        (b"\xff", ["\ufffd"]),
        ("日本語日本語".encode(), ["日本語日本", "語"]),
        (b"\x1b]0;title\x07x\x1b[10Gy\x1b[3Dz\x1b[Cw", ["x      z w"]),
        (b"\n\n\n", []),
        (b"1\n2\n3\n4\n5", ["2", "3", "4", "5"]),
    ],
)
def test_screen_lines(data: bytes, lines: list[str]) -> None:
    assert screen_lines(data, width=10, height=4) == lines


@given(st.binary(max_size=300), st.integers(2, 30), st.integers(0, 8))
def test_nothing_leaves_the_screen(data: bytes, width: int, height: int) -> None:
    lines = screen_lines(data, width=width, height=height)

    assert len(lines) <= height
    assert all(cell_width(line) <= width for line in lines)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.integers(-1, 20))
def test_clip_cells_keeps_to_the_width(text: str, width: int) -> None:
    assert cell_width(clip_cells(text, width)) <= max(0, width)
