from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.text.glob import (
    BadPattern,
    Kind,
    Translation,
    check_syntax,
    pieces,
    translate,
)


@pytest.mark.parametrize(
    ("pattern", "kind", "operand"),
    [
        ("a.b", Kind.EXACT, "a.b"),
        ("^a", Kind.EXACT, "^a"),
        ("a/**", Kind.PREFIX, "a/"),
        ("**", Kind.SUFFIX, ""),
        ("**/a", Kind.SUFFIX, "/a"),
        ("**.md", Kind.SUFFIX, ".md"),
        ("*.md", Kind.REGEX, r"^[^/]*\.md$"),
        ("a?", Kind.REGEX, "^a[^/]$"),
        ("**/*.md", Kind.REGEX, r"^(.*/)?[^/]*\.md$"),
        ("a/**/b", Kind.REGEX, "^a/(.*/)?b$"),
        ("**/a/**", Kind.REGEX, "^(.*/)?a/.*$"),
        ("***", Kind.REGEX, "^(.*/)?[^/]*$"),
        (r"\*", Kind.REGEX, r"^\*$"),
        ("[a-c]", Kind.REGEX, "^[a-c]$"),
        ("[*]", Kind.REGEX, "^[[^/]*]$"),
        ("\ufeff*", Kind.REGEX, "^[^/]*$"),
        ("a\\", Kind.EXACT, "a\\"),
    ],
)
def test_translate(pattern: str, kind: Kind, operand: str) -> None:
    assert translate(pattern) == Translation(kind=kind, operand=operand)


@pytest.mark.parametrize(
    ("regex", "matching", "others"),
    [
        (r"^\d$", "7", "d٣"),
        (r"^\s$", " \t", "\v\xa0"),
        (r"^\x41\x{42}$", ("AB",), "x"),
        (r"^\101$", "A", "1"),
        (r"^\a\t$", ("\a\t",), ("at",)),
        (r"^a\b$", "a", ("ab",)),
        ("^[[:alpha:]]$", "aZ", "1:["),
        ("^[[:^alpha:]]$", "1é", "aZ"),
        ("^[[:x]$", "[:x", "]"),
        ("^[[^/]*]$", ("]", "[/^]"), ("a]",)),
        (r"^[\]a]$", "]a", "\\"),
        (r"^[\d-]$", "5-", "d"),
        ("^[a&&b|~]$", "a&b|~", "x"),
        ("^[^a]$", "b/", "a"),
        (r"^\.$", ".", "a"),
    ],
)
def test_pieces_are_an_expression_of_python(regex: str, matching: str, others: str) -> None:
    find = re.compile("".join(pieces(regex)), re.ASCII).match

    assert [text for text in matching if not find(text)] == []
    assert [text for text in others if find(text)] == []


@pytest.mark.parametrize(
    "regex", ["[b-a]", r"\e", r"\é", r"\1", r"\x{110000}", "[[:no:]]", "[a", r"\pL", r"\Q", "[a-"]
)
def test_pieces_of_what_go_refuses(regex: str) -> None:
    with pytest.raises(BadPattern, match="syntax error in pattern"):
        pieces(regex)


@pytest.mark.parametrize("pattern", ["[", "[]", "[]a]", "[^]", "[a-]", "[-a]", "a\\", "[a", "[a-"])
def test_check_syntax_refuses(pattern: str) -> None:
    with pytest.raises(BadPattern, match="syntax error in pattern"):
        check_syntax(pattern)


@pytest.mark.parametrize("pattern", ["", "*", "a]", r"[\]]", r"[\-a]", "[^a-c]x[d]", r"\["])
def test_check_syntax_accepts(pattern: str) -> None:
    check_syntax(pattern)


@given(st.text(alphabet="ab*?[]^-\\/.:1[:alpha:]&~|"))
def test_any_pattern_is_compiled_or_refused(pattern: str) -> None:
    translation = translate(pattern)
    if translation.kind is not Kind.REGEX:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_syntax(pattern)
            regex = "".join(pieces(translation.operand))
        except BadPattern:
            return
        re.compile(regex, re.ASCII)
