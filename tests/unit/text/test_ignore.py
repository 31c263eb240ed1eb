from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.text.ignore import (
    ContextFilter,
    Matcher,
    Verdict,
    clean_path,
    read_patterns,
)
from tests.support.dockerfiles.ignore_model import files_sent, is_ignored
from tests.support.dockerfiles.ignoring import kept_files
from tests.support.dockerfiles.strategies import ignore_texts

FILES = (
    *("Dockerfile", "README.md", "docs/a.md", "docs/deep/b.md", "src/main.c", "src/test/t.c"),
    *("out/x.o", "src/out/y.o", ".git/config"),
)


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("", "."),
        ("a//b/./c/", "a/b/c"),
        ("a/../b", "b"),
        ("../../a", "../../a"),
        ("a/../../b", "../b"),
        ("/../a", "/a"),
        ("//", "/"),
    ],
)
def test_clean_path(path: str, cleaned: str) -> None:
    assert clean_path(path) == cleaned


def test_read_patterns() -> None:
    text = "\ufeff# comment\n\n  a/ \r\n #b\n!  /c/../d\n/\n!\n\\#e\n/./f//g\n"

    assert read_patterns(text) == ["a", "#b", "!d", "/", "!", "\\#e", "f/g"]


def test_read_patterns_keeps_bytes_that_are_not_utf8() -> None:
    assert read_patterns(b"a\xff\n") == ["a\udcff"]


def test_read_patterns_refuses_an_endless_line() -> None:
    with pytest.raises(InputError, match="token too long"):
        read_patterns("a" * 65536)


@pytest.mark.parametrize(
    ("patterns", "ignored"),
    [
        ([], []),
        (["*"], list(FILES)),
        (["*.md"], ["README.md"]),
        (["**/*.md"], ["README.md", "docs/a.md", "docs/deep/b.md"]),
        (["docs"], ["docs/a.md", "docs/deep/b.md"]),
        (["docs/*"], ["docs/a.md", "docs/deep/b.md"]),
        (["docs/**"], ["docs/a.md", "docs/deep/b.md"]),
        (["**/out"], ["out/x.o", "src/out/y.o"]),
        (["src/*/[ty].?"], ["src/test/t.c", "src/out/y.o"]),
        (["src", "!src/test"], ["src/main.c", "src/out/y.o"]),
        (["!src/test", "src"], ["src/main.c", "src/test/t.c", "src/out/y.o"]),
        (["*", "!**/*.md"], [path for path in FILES if not path.endswith(".md")]),
        (["/docs"], []),
        (["docs/../src/test/"], ["src/test/t.c"]),
    ],
)
def test_ignores(patterns: list[str], ignored: list[str]) -> None:
    matcher = Matcher(patterns)

    assert [path for path in FILES if matcher.ignores(path)] == ignored
    assert kept_files(patterns, FILES) == sorted(set(FILES) - set(ignored))


def test_root_is_never_ignored() -> None:
    assert not Matcher(["**"]).ignores(".")


def test_matcher_is_true_if_it_has_patterns() -> None:
    assert Matcher(["a"])
    assert not Matcher(["", " "])


def test_walk_and_query_may_disagree() -> None:
    patterns = ["**/*.md", "!docs"]

    assert not Matcher(patterns).ignores("docs/a.md")
    assert "docs/a.md" not in kept_files(patterns, FILES)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["!"], 'illegal exclusion pattern: "!"'),
        (["a", "!/"], 'illegal exclusion pattern: "!"'),
        (["[", "!b"], "syntax error in pattern"),
        (["a\\"], "syntax error in pattern"),
    ],
)
def test_matcher_refuses(patterns: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Matcher(patterns)
    with pytest.raises(InputError) as caught:
        kept_files(patterns, [])
    assert str(caught.value) == f"invalid excludepatterns: [{' '.join(patterns)}]: {message}"


def test_wrong_range_is_found_only_when_it_is_asked() -> None:
    matcher = Matcher(["a", "[z-a]"])

    assert matcher.ignores("a")
    with pytest.raises(InputError, match="syntax error in pattern"):
        matcher.ignores("b")


@pytest.mark.parametrize(
    ("patterns", "directory", "expected"),
    [
        (["a"], "a", False),
        (["a", "!a/b"], "a", True),
        (["a", "!a/b"], "ab", False),
        (["*", "!a/b/**"], "a/b", True),
        (["*", "!a/*"], "a", True),
        (["*", "!b"], "a", False),
        (["*", "!*/b"], "a", True),
    ],
)
def test_may_contain_kept(patterns: list[str], directory: str, expected: bool) -> None:
    assert Matcher(patterns).may_contain_kept(directory) is expected


def test_judge_carries_the_directory_along() -> None:
    matcher = Matcher(["a", "!a/b"])

    directory = matcher.judge("a")

    assert directory == Verdict(ignored=True, matched=(True, False))
    assert matcher.judge("a/b", directory) == Verdict(ignored=False, matched=(True, True))
    assert matcher.judge("a/c", directory) == Verdict(ignored=True, matched=(True, False))


def test_context_filter_does_not_look_into_pruned_directories() -> None:
    context = ContextFilter(Matcher(["a", "!b"]))

    assert [context.ignores(path) for path in ("a", "a/x/y", "a/x", "b", "c/d")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not context.may_contain_kept("a")


def test_context_filter_of_a_deep_path() -> None:
    assert not ContextFilter(Matcher(["b"])).ignores("/".join(["a"] * 5000))


@given(st.permutations(FILES))
def test_context_filter_asks_in_any_order(files: list[str]) -> None:
    context = ContextFilter(Matcher(["**/*.md", "!docs", "src", "!src/out/*"]))

    assert {path for path in files if not context.ignores(path)} == {
        "Dockerfile",
        "src/out/y.o",
        "out/x.o",
        ".git/config",
    }


PATTERN = st.text(alphabet="ab*?/.!", max_size=6)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATTERN.map(lambda pattern: pattern.replace("!", "")), max_size=4), PATH)
def test_without_exceptions_walk_and_query_agree(patterns: list[str], path: str) -> None:
    assert (kept_files(patterns, [path]) == []) == Matcher(patterns).ignores(path)


@given(st.lists(PATTERN, max_size=4), PATH)
def test_asking_one_by_one_or_at_once_is_the_same(patterns: list[str], path: str) -> None:
    with contextlib.suppress(InputError):
        plain = [pattern for pattern in patterns if not pattern.lstrip().startswith("!")]
        # An exception that can't match forces the long way without changing the answer.
        assert Matcher(plain).ignores(path) == Matcher([*plain, "!never/there"]).ignores(path)


@given(st.binary(), st.text())
def test_anything_is_read_or_refused(text: bytes, path: str) -> None:
    with contextlib.suppress(InputError):
        Matcher(read_patterns(text)).ignores(path)


SOME_FILES = (
    *("a", "b", "a.b", "a/a", "a/b", "a/b/a", "b/a", "b/b/b/b", "b/ab/a", ".a/b", "ab", "c/c"),
    *("d/[a]", "a*", "a b", "-a"),
)


@settings(max_examples=60)
@given(ignore_texts())
@example("!/ /")  # read as an exclamation mark and a blank, which is trimmed when it is compiled
def test_what_is_ignored_and_sent_is_what_a_second_reading_says(text: str) -> None:
    patterns = read_patterns(text)
    try:
        matcher = Matcher(patterns)
    except InputError:
        assert any(pattern.strip() in {"!", "!/"} or pattern.endswith("\\") for pattern in patterns)
        return

    assert [path for path in SOME_FILES if matcher.ignores(path)] == [
        path for path in SOME_FILES if is_ignored(text, path)
    ]
    assert kept_files(patterns, SOME_FILES) == files_sent(text, SOME_FILES)


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 30 + "b", "**/a" * 30 + "/b", "[^a]*" * 30 + "b", "a*/" * 100, "*" * 9000 + "b"],
)
def test_hostile_patterns_end(pattern: str) -> None:
    path = "/".join(["a" * 100] * 20)

    assert kept_files([pattern], [path]) == [path]
    assert not Matcher([pattern, "!x"]).ignores(path)
