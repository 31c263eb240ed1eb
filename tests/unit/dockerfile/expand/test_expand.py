from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.dockerfile.expand.expand import (
    DISPLAY,
    HEREDOC,
    RAW,
    WORD,
    Mode,
    expand,
    expand_words,
    expansion,
)
from polyarch.errors import DockerfileError
from polyarch.graph.location import Location, SourceText

ENV = {
    "ARCH": "arm64",
    "EMPTY": "",
    "FILE": "lib.tar.gz",
    "LIST": "one two  three",
    "PATH": "/opt/bin",
    "PRICE": "$5",
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$ARCH", "arm64"),
        ("${ARCH}x", "arm64x"),
        ("$ARCH.x", "arm64.x"),
        ("$MISSING", ""),
        ("cost: $", "cost: $"),
        ("$(date)", "$(date)"),
        ("'$ARCH'", "$ARCH"),
        ('"$ARCH"', "arm64"),
        (r"\$ARCH", "$ARCH"),
        (r'"\$ARCH \a"', r"$ARCH \a"),
        (r"a\ b", "a b"),
        ("end\\", "end"),
        ("$1$@$?", ""),
        ("$12x", "x"),
        ("${MISSING:-a b}", "a b"),
        ("${EMPTY-other}", ""),
        ("${EMPTY:-other}", "other"),
        ("${ARCH:+set}", "set"),
        ("${EMPTY+set}", "set"),
        ("${EMPTY:+set}", ""),
        ("${MISSING:-${ARCH:-x}}", "arm64"),
        ("${ARCH:?must be set}", "arm64"),
        ("${FILE%.*}", "lib.tar"),
        ("${FILE%%.*}", "lib"),
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE/./-}", "lib-tar.gz"),
        ("${FILE//./-}", "lib-tar-gz"),
        (r"${PATH//\//_}", "_opt_bin"),
        ("${MISSING//a/b}", ""),
        ("\ufeffx", "x"),
        ("a << b", "a << b"),
    ],
)
def test_expand_word(word: str, expected: str) -> None:
    assert expand(word, ENV) == expected


def test_expand_with_another_escape_character() -> None:
    assert expand(r"C:\$ARCH`$ARCH", ENV, escape="`") == r"C:\arm64$ARCH"


@pytest.mark.parametrize(
    ("word", "mode", "expected"),
    [
        ("\"$ARCH\" '$ARCH'", HEREDOC, "\"arm64\" 'arm64'"),
        (r"a\tb", HEREDOC, "atb"),
        ("'a' $ARCH $MISSING ${MISSING}", DISPLAY, "'a' arm64 $MISSING ${MISSING}"),
        ("${MISSING:-a} ${MISSING#b} ${MISSING/c/d}", DISPLAY, None),
        (r"'a' \b $MISSING", RAW, r"'a' \b $MISSING"),
    ],
)
def test_expand_in_other_modes(word: str, mode: Mode, expected: str | None) -> None:
    assert expand(word, ENV, mode=mode) == (word if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" a  b ", ("a", "b")),
        ("$LIST", ("one", "two", "three")),
        ('"$LIST" x', ("one two  three", "x")),
        ("a$LIST", ("aone", "two", "three")),
        (r"a\ b", ("a b",)),
        ("'' x", ("x",)),
        ("80/tcp\t443", ("80/tcp", "443")),
        ("x << EOF y", ("x", "<< EOF", "y")),
        ("a\xa0b", ("a", "b")),
    ],
)
def test_expand_words(text: str, expected: tuple[str, ...]) -> None:
    assert expand_words(text, ENV) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${ARCH", "unsupported modifier (\ufffd) in substitution"),
        ("${ARCH:", "syntax error: missing '}'"),
        ("${ARCH:-a", "syntax error: missing '}'"),
        ("${ARCH/a}", "syntax error: missing '/' in ${}"),
        ("${ARCH/a/b", "syntax error: missing '}'"),
        ("${ARCH^^}", "unsupported modifier (^) in substitution"),
        ("${ARCH:0:2}", "unsupported modifier (:0) in substitution"),
        ("${ARCH:#a}", "unsupported modifier (:#) in substitution"),
        ("${#ARCH}", "unsupported modifier (A) in substitution"),
        ("${MISSING?}", "MISSING: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${MISSING?say $ARCH}", "MISSING: say arm64"),
        (
            r"${ARCH%\.}",
            r"invalid pattern (\.) in substitution: invalid escape '\.'",
        ),
        (
            r"${ARCH/\a/b}",
            r"invalid pattern (\a) in substitution: invalid escape '\a'",
        ),
    ],
)
def test_expand_refuses_with_the_reason(word: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=r"\Afailed to process \"") as caught:
        expand(word, ENV)

    assert str(caught.value).partition('": ')[2] == message


def test_expand_names_the_place() -> None:
    place = Location(source=SourceText(name="Dockerfile", text="ENV A='x"), start=1, end=1)

    with pytest.raises(DockerfileError) as caught:
        expand("'x", {}, place=place)

    assert caught.value.place == place


def test_expand_refuses_endless_nesting() -> None:
    word = "${A:-" * 5000 + "x" + "}" * 5000

    with pytest.raises(DockerfileError, match="nested more than 100 deep"):
        expand(word, {})


def test_expansion_tells_which_variables_were_used() -> None:
    found = expansion("$ARCH${NOPE:-$EMPTY}'$PATH'", ENV)

    assert found.text == "arm64$PATH"
    assert found.matched == {"ARCH", "EMPTY"}
    assert found.unmatched == {"NOPE"}


@given(st.text(alphabet="a$", max_size=8))
def test_expand_of_a_quoted_text_is_the_text(text: str) -> None:
    assert expand(f"'{text}'", ENV) == text


@given(st.text(alphabet="abc $\\'\"{}:-+?#%/*.<\n"), st.sampled_from("\\`"))
def test_expand_raises_nothing_but_our_error(text: str, escape: str) -> None:
    for mode in (WORD, HEREDOC, DISPLAY, RAW):
        with contextlib.suppress(DockerfileError):
            expansion(text, {"a": "b c", "b": "$a"}, escape=escape, mode=mode)


@given(st.text())
def test_expand_keeps_what_has_no_meaning(text: str) -> None:
    plain = "".join(char for char in text if char not in "$'\"\\\ufeff")

    assert expand(plain, {}) == plain
    assert expansion(plain, {}).text == plain
