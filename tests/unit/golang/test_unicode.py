from __future__ import annotations

import sys

from polyarch.golang.unicode import SPACE, is_space


def test_is_space() -> None:
    found = {ord(char) for char in map(chr, range(sys.maxunicode + 1)) if is_space(char)}

    assert found == {*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}  # fmt: skip
    assert found == set(map(ord, SPACE))
