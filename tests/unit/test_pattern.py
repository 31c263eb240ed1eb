"""An expression is compiled when it is first used, and is then as if it always had been."""

from __future__ import annotations

import re

import pytest

from polyarch.pattern import pattern


def test_it_does_as_the_compiled_one() -> None:
    word = pattern(r"[a-z]+", re.IGNORECASE)

    assert word.findall("One two") == ["One", "two"]
    assert word.sub("-", "One two") == "- -"
    assert (word.pattern, word.flags) == (r"[a-z]+", re.compile("a", re.IGNORECASE).flags)


def test_it_takes_bytes() -> None:
    found = pattern(rb"(\d+)").match(b"12x")

    assert found is not None
    assert found[1] == b"12"


def test_a_fault_shows_when_it_is_used() -> None:
    faulty = pattern("(")

    with pytest.raises(re.error, match="unterminated subpattern"):
        faulty.match("")
