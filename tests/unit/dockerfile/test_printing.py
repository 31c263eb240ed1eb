"""Printing: what comes out reads as what went in, and in the plainest form."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings

from polyarch.dockerfile.syntax.instruction import Copy, Instruction, Run
from polyarch.dockerfile.syntax.lexer import Heredoc
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.location import Location, SourceText
from tests.support.dockerfiles.printing import (
    check_printing,
    parsed,
    print_dockerfile,
    print_instruction,
)
from tests.support.dockerfiles.strategies import dockerfile_texts

PLACE = Location(source=SourceText(name="Dockerfile", text=""), start=1, end=1)


def printed(text: str) -> str:
    return print_dockerfile(parsed(text))


def instruction(text: str) -> Instruction:
    return parsed(f"FROM a\n{text}").stages[0].instructions[0]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("run  --network=default   a \\\n  b", "RUN a   b\n"),
        ('COPY --link --from="x" a b', "COPY --from=x --link a b\n"),
        ("COPY --link=false [ \"a\", 'b' ] c", "COPY [ \"a\", 'b' ] c\n"),
        ('COPY ["a", "b"]', "COPY a b\n"),
        ('COPY ["a b", "c"]', 'COPY ["a b", "c"]\n'),
        ("COPY <<A /x\nb\nA", "COPY <<A /x\nb\nA\n"),
        (
            "ADD --keep-git-dir=false --chown='a b' c d",
            "ADD --chown=a\\ b --keep-git-dir=false c d\n",
        ),
        ("RUN <<-'A'\n\tb\n\tA", "RUN <<-'A'\n\tb\nA\n"),
        ("RUN --mount=type=tmpfs,target=/x a", "RUN --mount=type=tmpfs,target=/x a\n"),
        ("RUN -- --a", "RUN -- --a\n"),
        ("EXPOSE b a", "EXPOSE a b\n"),
        ("ENV a b c", "ENV a b c\n"),
        ("ENV a=b\tc='d e'", "ENV a=b c='d e'\n"),
        ("HEALTHCHECK --interval=90s cmd a", "HEALTHCHECK --interval=1m30s CMD a\n"),
        ("healthcheck none", "HEALTHCHECK NONE\n"),
        ('CMD ["é\\n"]', 'CMD ["é\\n"]\n'),
        ("ONBUILD RUN <<A\nb\nA", "ONBUILD RUN <<A\nb\nA\n"),
        ('VOLUME ["/a b"]', 'VOLUME ["/a b"]\n'),
    ],
)
def test_instruction_is_printed_plainly(written: str, plain: str) -> None:
    assert print_instruction(instruction(written)) == plain


def test_file_keeps_directives_comments_and_stages() -> None:
    text = "#escape=`\n#a comment\nARG a\n# one first\nfrom x AS One\n\nFROM y\nRUN a `\n # b\n c\n"

    assert printed(text) == (
        "# escape=`\n\n# a comment\nARG a\n\n# one first\nFROM x AS One\n\nFROM y\nRUN a  c\n"
    )


def test_comment_doesnt_become_a_directive() -> None:
    check_printing(parsed("\n# escape=`\nFROM a\nRUN b\\\nc"))


def test_escape_at_the_end_of_the_file_stays_one() -> None:
    check_printing(parsed("FROM a\nRUN b\\ \\"))


def test_long_instruction_is_broken() -> None:
    text = printed("FROM a\nRUN " + ("x" * 40_000 + "é\\\n") * 5 + "y\n")

    assert max(len(line.encode()) for line in text.split("\n")) <= 65535
    check_printing(parsed(text))


def test_quotes_that_reach_into_the_next_word_stay_where_they_are() -> None:
    check_printing(parsed("FROM a\nCOPY <<A <<A 'a b'\nA\nc\nA\n"))


def test_heredocs_of_one_name_have_the_content_of_the_last() -> None:
    check_printing(parsed("FROM a\nCOPY <<A <<-A /x\nb\nA\nc\n\tA\n"))


@pytest.mark.parametrize(
    "item",
    [
        Run(location=PLACE, arguments=("a\nb",), shell=True),
        Copy(
            location=PLACE,
            sources=(),
            contents=(Heredoc(name="A", content="A\n"),),
            destination="/",
        ),
        Copy(location=PLACE, sources=(), destination=""),
    ],
)
def test_what_no_text_gives_is_refused(item: Instruction) -> None:
    with pytest.raises(InputError, match="no Dockerfile has this"):
        print_instruction(item)


@settings(max_examples=40)
@given(dockerfile_texts())
def test_printing_and_parsing_gives_the_same(text: str) -> None:
    try:
        dockerfile = parsed(text)
    except DockerfileError:
        assume(False)
    check_printing(dockerfile)
