import pytest

from polyarch.dockerfile.syntax.frontend import check_syntax
from polyarch.errors import DockerfileError
from polyarch.graph.location import SourceText


def check(text: str, **build_args: str) -> None:
    check_syntax(SourceText(name="Dockerfile", text=text), build_args)


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch\n",
        "# syntax=docker/dockerfile:1\nFROM scratch\n",
        "#syntax = docker.io/docker/dockerfile:1.7-labs\r\n",
        "# escape=`\n# SYNTAX=docker/dockerfile-upstream:master\n",
        "# syntax=mirror.example:5000/hub/docker/dockerfile@sha256:" + "0" * 64,
        "#!/usr/bin/env builder\n# syntax=docker/dockerfile\n",
        "// syntax=docker/dockerfile:1\n",
        '{"syntax": "docker/dockerfile:1"}',
        "FROM scratch\n# syntax=me/else\n",
    ],
)
def test_dockers_own_frontend_is_built_in(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    ("text", "image", "line"),
    [
        ("# syntax=me/else:1 more\nFROM scratch", "me/else:1", 1),
        ("# check=skip=all\n# syntax=dockerfile\n", "dockerfile", 2),
        ("#!/bin/x\n// syntax=me/docker/else\n", "me/docker/else", 2),
        ('{"syntax": "me/else"}', "me/else", 1),
        ("# syntax=Not:A:Name\n", "Not:A:Name", 1),
    ],
)
def test_other_frontends_are_refused(text: str, image: str, line: int) -> None:
    with pytest.raises(DockerfileError, match=f"^the frontend {image} can't be run") as caught:
        check(text)
    assert caught.value.line == line


def test_the_build_argument_goes_first() -> None:
    check("# syntax=me/else\n", BUILDKIT_SYNTAX=" docker/dockerfile:1 ")
    with pytest.raises(DockerfileError, match="me/other") as caught:
        check("# syntax=docker/dockerfile\n", BUILDKIT_SYNTAX="me/other arg")
    assert caught.value.place is None


def test_an_empty_build_argument_says_nothing() -> None:
    with pytest.raises(DockerfileError, match="me/else"):
        check("# syntax=me/else\n", BUILDKIT_SYNTAX="")
