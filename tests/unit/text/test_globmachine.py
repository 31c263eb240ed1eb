"""Patterns with many wildcards: the same answers as Python's expressions, however long those take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.text.glob import BadPattern, Kind, pieces, translate
from polyarch.text.globmachine import count_loops, machine

PIECES = st.sampled_from(
    [
        "*",
        "**",
        "**/",
        "/",
        "a",
        "b",
        "?",
        "[a-b]",
        "[^a]",
        r"\*",
        r"\b",
        r"\A",
        "^",
        r"\d",
        ".",
        "[*a]",
    ]
)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a*b*c*", ["abc", "axbxcx", "abbcc"], ["ab", "acb", "a/bc"]),
        ("**/a*/**/b*", ["a/b", "x/y/ab/b", "a/x/y/bc"], ["b", "ab", "a/xb"]),
        ("***?", ["a", "x/a"], ["", "x/"]),
        ("[ab]*[^a]*?.md", ["abx.md", "acx.md", "a/x.md"], ["x.md", "aax/.md"]),
        (r"*\**\?*", ["*?", "a*b?c"], ["ab", "?*"]),
    ],
)
def test_machine(pattern: str, matching: list[str], others: list[str]) -> None:
    matches = machine(pieces(translate(pattern).operand))

    assert [path for path in [*matching, *others] if matches(path)] == matching


def test_loops_are_counted() -> None:
    assert count_loops(pieces("^(.*/)?a[^/]*b.*$")) == 3
    assert count_loops(pieces(r"^a\*b$")) == 0


@settings(max_examples=60)
@given(st.lists(PIECES, min_size=1, max_size=8).map("".join), st.text("aab/*1.\n ", max_size=8))
def test_machine_and_expression_agree(pattern: str, path: str) -> None:
    translation = translate(pattern)
    if translation.kind is not Kind.REGEX:
        return
    try:
        parts = pieces(translation.operand)
    except BadPattern:
        return

    found = re.match("".join(parts), path, re.ASCII)

    assert machine(parts)(path) == (found is not None)
