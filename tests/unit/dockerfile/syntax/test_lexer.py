from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.dockerfile.syntax.lexer import (
    Directive,
    Heredoc,
    Lexer,
    LogicalLine,
    ParseWarning,
    decode,
    find_directive,
    heredoc_from_word,
)
from polyarch.errors import DockerfileError
from polyarch.graph.location import SourceText


def lexer_of(text: str) -> Lexer:
    return Lexer(SourceText(name="Dockerfile", text=text))


def lines_of(text: str) -> list[LogicalLine]:
    lexer = lexer_of(text)
    lines = []
    while (line := lexer.next_line()) is not None:
        lines.append(line)
    return lines


def texts_of(text: str) -> list[str]:
    return [line.text for line in lines_of(text)]


def test_line_has_its_place_and_comments() -> None:
    text = "\ufeff\n# first\n#\n#second\n\n  # third\n  FROM a \\\n  AS b\n"

    assert lines_of(text) == [
        LogicalLine(text="FROM a   AS b", start=7, end=8, comments=("second", "# third"))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN a\\\n# comment\n  # another\nb", ["RUN ab"]),
        ("RUN a\\  \t\nb", ["RUN ab"]),
        ("RUN a \\", ["RUN a "]),
        ("RUN a\\\\\nRUN b", ["RUN a\\\\", "RUN b"]),
        ("\\\nRUN a", ["RUN a"]),
        ("RUN a\r\nRUN b\r\n", ["RUN a", "RUN b"]),
        ("RUN a # not a comment", ["RUN a # not a comment"]),
        ("# escape=`\nRUN a`\nb\\\nRUN c", ["RUN ab\\", "RUN c"]),
        ("\xa0RUN a", ["RUN a"]),
        ("RUN a\x0bb\x0cc\x85d", ["RUN a\x0bb\x0cc\x85d"]),
        ("", []),
    ],
)
def test_lines_are_joined(text: str, expected: list[str]) -> None:
    assert texts_of(text) == expected


def test_empty_line_in_a_continuation_warns() -> None:
    lexer = lexer_of("RUN a \\\n\n \t\nb\nRUN c\n")

    assert lexer.next_line() == LogicalLine(text="RUN a b", start=1, end=4, comments=())
    assert lexer.warnings == [
        ParseWarning(message="Empty continuation line found in: RUN a b", line=4)
    ]


def test_directives_end_with_the_first_other_line() -> None:
    lexer = lexer_of("# Syntax = x/y:1 z\n#escape=`\n# nonsense=1\n# check=skip=all\nRUN a\n")

    line = lexer.next_line()

    assert line is not None
    assert line.comments == ("nonsense=1", "check=skip=all")
    assert lexer.escape == "`"
    assert lexer.directives == [
        Directive(name="syntax", value="x/y:1 z", word="x/y:1", line=1),
        Directive(name="escape", value="`", word="`", line=2),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# escape=x\n", "invalid escape token 'x' does not match ` or \\"),
        ("# check=a\n# Check=b\n", "only one check parser directive can be used"),
    ],
)
def test_wrong_directive_is_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        lines_of(text)

    assert str(caught.value) == message
    assert caught.value.line == 1


def test_longest_line() -> None:
    lexer = lexer_of(f"RUN {'é' * 32765}x\nRUN {'é' * 32766}\n")

    assert lexer.next_line() is not None
    assert lexer.next_line() is None
    with pytest.raises(DockerfileError) as caught:
        lexer.check_end()
    assert str(caught.value) == "dockerfile line greater than max allowed size of 65535"


def test_heredocs_follow_their_line() -> None:
    lexer = lexer_of("RUN 3<<-A <<'B C'\n\t$x\r\n\tA\n\nA\nB C\nRUN b\n")
    line = lexer.next_line()
    assert line is not None

    heredocs = lexer.read_heredocs(line)

    assert heredocs == (
        Heredoc(name="A", content="\t$x\r\n", strip_tabs=True, fd=3),
        Heredoc(name="B C", content="\nA\n", expand=False),
    )
    assert [heredoc.body for heredoc in heredocs] == ["$x\r\n", "\nA\n"]
    assert lexer.next_line() == LogicalLine(text="RUN b", start=7, end=7, comments=())


def test_heredoc_without_an_end_is_refused() -> None:
    lexer = lexer_of("RUN <<A\nb\n")
    line = lexer.next_line()
    assert line is not None

    with pytest.raises(DockerfileError, match="unterminated heredoc") as caught:
        lexer.read_heredocs(line)

    assert caught.value.line == 1


def test_quotes_that_a_shell_would_refuse_open_no_heredoc() -> None:
    lexer = lexer_of("RUN echo ' <<A\n")
    line = lexer.next_line()
    assert line is not None

    assert lexer.read_heredocs(line) == ()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("<<EOF", Heredoc(name="EOF")),
        ("<< EOF", Heredoc(name="EOF")),
        ("2<<-EOF", Heredoc(name="EOF", strip_tabs=True, fd=2)),
        ('<<"E F"', Heredoc(name="E F", expand=False)),
        (r"<<E\'F", Heredoc(name="E'F")),
        ("<<$E", Heredoc(name="$E")),
        ("<<", None),
        ("<<<EOF", None),
        ("a<<EOF", None),
        ("<<a b", None),
        ("9" * 5000 + "<<EOF", Heredoc(name="EOF", fd=int("9" * 19))),
    ],
)
def test_heredoc_from_word(word: str, expected: Heredoc | None) -> None:
    assert heredoc_from_word(word) == expected


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("syntax", "#syntax=a b", ("a b", "a", 1)),
        ("syntax", "#!/bin/x\n# syntax=a", ("a", "a", 2)),
        ("syntax", "#!/bin/x\r\n//check=b\r\n// syntax = a\r\n", ("a", "a", 3)),
        ("syntax", '{"syntax": "a b"}', ("a b", "a b", 0)),
        ("syntax", '#!x\n{"syntax": "a"}', ("a", "a", 1)),
        ("check", '{"check": "a"}', None),
        ("check", "// check=a", None),
        ("check", "# check=a\n# check=b\n", ("a", "a", 1)),
        ("syntax", "# check=a\n# check=b\n# syntax=c\n", None),
        ("syntax", '{"syntax": 1}', None),
        ("syntax", '["syntax"]', None),
        ("syntax", "[" * 100_000, None),
        ("syntax", "", None),
    ],
)
def test_find_directive(key: str, text: str, expected: tuple[str, str, int] | None) -> None:
    found = find_directive(key, text)

    assert (found and (found.value, found.word, found.line)) == expected


def test_decode_replaces_what_is_not_utf8() -> None:
    assert decode("é".encode() + b"\xff") == "é\ufffd"


@given(st.text(alphabet="aRUN <-EOF'\"\\`#=\n\r\t\ufeff"))
def test_lexer_raises_nothing_but_our_error(text: str) -> None:
    lexer = lexer_of(text)
    with contextlib.suppress(DockerfileError):
        while (line := lexer.next_line()) is not None:
            lexer.read_heredocs(line)


@given(st.binary(), st.sampled_from(["check", "escape", "syntax"]))
def test_find_directive_never_raises(data: bytes, key: str) -> None:
    find_directive(key, decode(data))


@given(st.lists(st.text(alphabet="ab #\t"), max_size=4))
def test_every_line_is_in_one_place(lines: list[str]) -> None:
    found = lines_of("\n".join(lines))

    assert all(line.start == line.end for line in found)
    assert [line.text for line in found] == [
        text for line in lines if (text := line.lstrip()) and not text.startswith("#")
    ]
