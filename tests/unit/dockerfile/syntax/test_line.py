from __future__ import annotations

import pytest

from polyarch.dockerfile.syntax.line import ParsedLine
from polyarch.dockerfile.syntax.statement import Statement
from polyarch.errors import DockerfileError
from polyarch.graph.location import Location, SourceText


def line(*arguments: str, comments: tuple[str, ...] = ()) -> ParsedLine:
    text = " ".join(("USER", *arguments))
    return ParsedLine(
        statement=Statement(keyword="user", arguments=arguments, text=text),
        heredocs=(),
        location=Location(source=SourceText(name="Dockerfile", text=text), start=1, end=1),
        comments=comments,
    )


def test_what_a_comment_says_of_a_name() -> None:
    commented = line("a", comments=("about b", "a the first", "a another"))

    assert commented.comment_on("a") == "the first"
    assert commented.comment_on("c") == ""


@pytest.mark.parametrize("arguments", [(), ("a", "b")])
def test_one_argument_is_one(arguments: tuple[str, ...]) -> None:
    with pytest.raises(DockerfileError, match=r"^USER requires exactly one argument$"):
        line(*arguments).one_argument()

    assert line("a").one_argument() == "a"


def test_some_arguments_are_one_or_more() -> None:
    with pytest.raises(DockerfileError, match=r"^USER requires at least one argument$"):
        line().some_arguments()

    assert line("a", "b").some_arguments() == ("a", "b")
