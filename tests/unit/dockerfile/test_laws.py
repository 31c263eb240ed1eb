"""What holds for any Dockerfile: nothing but our errors, in little time, and as a second reading says."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.dockerfile.expand.expand import HEREDOC, WORD, expand, expansion
from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.lint.rules import parse_options
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.dockerfile.syntax.lexer import decode
from polyarch.errors import DockerfileError, InputError, PolyarchError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from tests.support.dockerfiles.expansion_model import Refused, expand_simply
from tests.support.dockerfiles.lowering import AMD64, ARM64, IMAGES
from tests.support.dockerfiles.strategies import dockerfile_texts, expansion_texts

ENV = {"a": "xyx", "b": "a/b*c?", "c": "", "é": "one  two\nthree", "1": "aaaa"}


def lowered(text: str) -> None:
    lint = Linter()
    options = LowerOptions(build_platform=AMD64, all_stages=True, lint=lint)
    maker = GraphMaker()
    dockerfile = parse(SourceText(name="Dockerfile", text=text), lint)
    for platform in (AMD64, ARM64):
        lower(dockerfile, platform, options=options, maker=maker, images=IMAGES)


@settings(max_examples=30)
@given(dockerfile_texts().map(lambda text: text.replace("FROM a", "FROM base")))
def test_frontend_lowers_or_refuses_what_looks_like_a_dockerfile(text: str) -> None:
    with contextlib.suppress(PolyarchError):
        lowered(text)


@settings(max_examples=30)
@given(st.binary(), st.sampled_from([b"", b"FROM base\n", b"FROM base\nRUN <<E\n", b"# check="]))
def test_frontend_lowers_or_refuses_any_bytes(data: bytes, start: bytes) -> None:
    with contextlib.suppress(PolyarchError):
        lowered(decode(start + data))


@settings(max_examples=40)
@given(expansion_texts(), st.sampled_from("\\`"), st.sampled_from([WORD, HEREDOC]))
def test_expansion_is_what_a_second_reading_says(text: str, escape: str, mode: object) -> None:
    heredoc = mode is HEREDOC
    try:
        expected = expand_simply(text, ENV, escape=escape, heredoc=heredoc)
    except Refused:
        with pytest.raises(DockerfileError):
            expansion(text, ENV, escape=escape, mode=HEREDOC if heredoc else WORD)
        return

    found = expansion(text, ENV, escape=escape, mode=HEREDOC if heredoc else WORD)

    assert (found.text, list(found.words)) == expected


@given(st.text())
def test_check_options_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        parse_options(text)


def test_variables_cant_double_a_value_without_end() -> None:
    text = "FROM base\nENV a=12345678\n" + "ENV a=$a$a\n" * 30

    with pytest.raises(DockerfileError, match="variables add more than 1048576 characters"):
        lowered(text)


def test_replacements_cant_grow_without_end() -> None:
    with pytest.raises(DockerfileError, match="variables add more than 1048576 characters"):
        expand("${a//x/$b}", {"a": "x" * 30_000, "b": "y" * 30_000})


def test_whole_file_cant_grow_without_end() -> None:
    text = "FROM base\nENV a=" + "x" * 60_000 + "\nENV b=$a$a$a" * 372

    lowered(text)
    with pytest.raises(
        DockerfileError, match="add more than 67108864 characters to the Dockerf"
    ) as at:
        lowered(f"{text}\nEXPOSE 1-65535")

    assert at.value.line == 375


@pytest.mark.parametrize(
    "word",
    ["${a//x*y/}", "${a%%y*x*z}", "${a%" + "*?x" * 5000 + "y}", "${a//" + "x" * 10_000 + "?y/}"],
)
def test_hostile_patterns_end(word: str) -> None:
    assert expand(word, {"a": "x" * 40_000}) == "x" * 40_000


def test_many_equal_findings_are_one_for_each_place() -> None:
    lint = Linter()
    dockerfile = parse(
        SourceText(name="Dockerfile", text="FROM base\n" + "ENV a=$unset\n" * 3000), lint
    )
    lower(
        dockerfile,
        AMD64,
        options=LowerOptions(build_platform=AMD64, lint=lint),
        maker=GraphMaker(),
        images=IMAGES,
    )

    assert len(lint.findings) == 3000


def test_address_that_is_none_is_refused_at_its_place() -> None:
    with pytest.raises(DockerfileError, match=r'parse "http://\]": Invalid') as at:
        lowered("FROM base\nADD http://] /x\n")

    assert at.value.line == 2
