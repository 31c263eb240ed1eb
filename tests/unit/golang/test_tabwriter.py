"""Columns, with the answers of Go 1.27's text/tabwriter to the same texts."""

from __future__ import annotations

import pytest

from polyarch.golang.tabwriter import align


@pytest.mark.parametrize(
    ("text", "aligned"),
    [
        ("a\tb\nccc\td\n", "a     b\nccc   d\n"),
        ("a\t\tb\t\n", "a      b   \n"),
        ("a\tb\nplain\ncccc\td", "a   b\nplain\ncccc   d"),
        ("", ""),
        ("ä\tb\nab\tc", "ä    b\nab   c"),
        # What ends with a tab at the end of the text is no column.
        ("ab\té\t", "ab   é"),
        ("abcd\tb\nb\t", "abcd   b\nb"),
        ("\t\t", "   "),
    ],
)
def test_columns_end_where_a_line_has_none(text: str, aligned: str) -> None:
    assert align(text, min_width=0, padding=3) == aligned


@pytest.mark.parametrize(
    ("text", "min_width", "padding", "aligned"),
    [
        ("a\tb\n12345678\tc\n\nd\te\n", 1, 1, "a\t\tb\n12345678\tc\n\nd\te\n"),
        ("b \tb aé\naaéa  \ta\n", 9, 1, "b \t\tb aé\naaéa  \t\ta\n"),
        ("1234567\tx\n\ty\n", 0, 1, "1234567\tx\n\ty\n"),
    ],
)
def test_columns_made_with_tabs(text: str, min_width: int, padding: int, aligned: str) -> None:
    assert align(text, min_width=min_width, padding=padding, tab_width=8) == aligned
