from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.dockerfile.expand.pattern import PatternError, remove_prefix, remove_suffix, replace


@pytest.mark.parametrize(
    ("value", "pattern", "shortest", "longest"),
    [
        ("a/b/c", "*/", "b/c", "c"),
        ("a/b/c", "?", "/b/c", "/b/c"),
        ("a/b/c", "x", "a/b/c", "a/b/c"),
        ("a*b", r"\a*", None, None),
        ("*b", r"\*", "b", "b"),
        ("}b", r"\}", "b", "b"),
        ("aXbXc", "*X*", "bXc", ""),
        ("one\ntwo", "*", "one\ntwo", "\ntwo"),
        ("[a]b", "[a]", "b", "b"),
        ("a.b", "?.", "b", "b"),
    ],
)
def test_remove_prefix(value: str, pattern: str, shortest: str | None, longest: str | None) -> None:
    if shortest is None or longest is None:
        with pytest.raises(PatternError, match="invalid escape"):
            remove_prefix(value, pattern, longest=False)
        return
    assert remove_prefix(value, pattern, longest=False) == shortest
    assert remove_prefix(value, pattern, longest=True) == longest


@pytest.mark.parametrize(
    ("value", "pattern", "shortest", "longest"),
    [
        ("a/b/c", "/*", "a/b", "a"),
        ("x.tar.gz", ".*", "x.tar", "x"),
        ("a**", r"\*", "a*", "a*"),
        ("héé", "é", "hé", "hé"),
        ("abc", "*", "abc", ""),
    ],
)
def test_remove_suffix(value: str, pattern: str, shortest: str, longest: str) -> None:
    assert remove_suffix(value, pattern, longest=False) == shortest
    assert remove_suffix(value, pattern, longest=True) == longest


@pytest.mark.parametrize(
    ("value", "pattern", "new", "first", "every"),
    [
        ("banana", "an", "AN", "bANana", "bANANa"),
        ("banana", "a*a", "-", "b-", "b-"),
        ("abc", "*", "-", "-", "-"),
        ("abc", "", "-", "-abc", "-a-b-c-"),
        ("a.b.c", ".", r"\/", r"a\/b.c", r"a\/b\/c"),
        ("aa", "a", "$0$0", "$0$0a", "aaaa"),
        ("aa", "a", "$$", "$$a", "$$"),
        ("aa", "a", "${x}y", "${x}ya", "yy"),
        ("a", "b", "c", "a", "a"),
    ],
)
def test_replace(value: str, pattern: str, new: str, first: str, every: str) -> None:
    assert replace(value, pattern, new, every=False) == first
    assert replace(value, pattern, new, every=True) == every


def test_many_stars_take_no_time() -> None:
    assert remove_prefix("a" * 3000, "*a" * 30 + "b", longest=True) == "a" * 3000


@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="ab", max_size=8))
def test_prefixes_are_the_shortest_and_longest_that_match(pattern: str, value: str) -> None:
    regex = re.compile(fnmatch.translate(pattern))
    ends = [end for end in range(len(value) + 1) if regex.match(value[:end])]

    shortest = value[min(ends) :] if ends else value
    longest = value[max(ends) :] if ends else value

    assert remove_prefix(value, pattern, longest=False) == shortest
    assert remove_prefix(value, pattern, longest=True) == longest


@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="ab", max_size=8))
def test_suffixes_mirror_prefixes(pattern: str, value: str) -> None:
    for longest in (False, True):
        mirrored = remove_prefix(value[::-1], pattern[::-1], longest=longest)[::-1]
        assert remove_suffix(value, pattern, longest=longest) == mirrored
