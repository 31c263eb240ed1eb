"""What a check prints."""

import base64

import pytest

from polyarch.cli.building.check import check_answer, shown_name
from polyarch.dockerfile.lint.linter import Finding
from polyarch.dockerfile.lint.rules import FROM_AS_CASING, INVALID_BASE_IMAGE_PLATFORM
from polyarch.errors import DockerfileError, NotFound
from polyarch.graph.location import Location, SourceText
from polyarch.pipeline.questions import CheckResult
from polyarch.request.values import BuildRequest

SOURCE = SourceText(name="Dockerfile", text="FROM a as b\nRUN c \\\n  d\n")
SECOND = Finding(
    rule=INVALID_BASE_IMAGE_PLATFORM,
    detail="second",
    location=Location(source=SOURCE, start=2, end=3),
)
FIRST = Finding(
    rule=FROM_AS_CASING, detail="first", location=Location(source=SOURCE, start=1, end=1)
)


def test_text_is_in_the_order_of_places() -> None:
    answer = check_answer(CheckResult(source=SOURCE, findings=(SECOND, FIRST)))

    assert answer.status == 1
    assert answer.text == (
        "Check complete, 2 warnings have been found!\n"
        "\n"
        "WARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/\n"
        "first\n"
        "Dockerfile:1\n"
        "--------------------\n"
        "   1 | >>> FROM a as b\n"
        "   2 |     RUN c \\\n"
        "   3 |       d\n"
        "--------------------\n"
        "\n"
        "WARNING: InvalidBaseImagePlatform\n"
        "second\n"
        "Dockerfile:2\n"
        "--------------------\n"
        "   1 |     FROM a as b\n"
        "   2 | >>> RUN c \\\n"
        "   3 | >>>   d\n"
        "   4 |     \n"
        "--------------------\n"
    )


def test_text_of_few_findings() -> None:
    nothing = check_answer(CheckResult(source=SOURCE, findings=()))
    assert (nothing.text, nothing.status) == ("Check complete, no warnings found.\n", 0)
    one = check_answer(CheckResult(source=SOURCE, findings=(FIRST,)))
    assert one.text.startswith("Check complete, 1 warning has been found!\n\nWARNING: ")


def test_an_error_keeps_its_place_and_its_hint() -> None:
    place = Location(source=SOURCE, start=1, end=1)
    error = DockerfileError("wrong", hint="do better", place=place)
    answer = check_answer(CheckResult(source=SOURCE, findings=(), error=error))

    assert (answer.text, answer.status) == ("", 1)
    assert answer.error is not None
    assert str(answer.error) == "wrong"
    assert (answer.error.place, answer.error.hint) == (place, "do better")


def test_a_blank_line_parts_findings_from_the_error() -> None:
    result = CheckResult(source=SOURCE, findings=(FIRST,), error=NotFound("gone"))
    assert check_answer(result).text.endswith("-\n\n")


def test_json_has_a_range_for_each_line() -> None:
    place = Location(source=SOURCE, start=2, end=3)
    error = DockerfileError("wrong", place=place)
    answer = check_answer(CheckResult(source=SOURCE, findings=(SECOND,), error=error))

    ranges = [{"start": {"line": line}, "end": {"line": line}} for line in (2, 3)]
    assert answer.document == {
        "warnings": [
            {
                "ruleName": "InvalidBaseImagePlatform",
                "description": INVALID_BASE_IMAGE_PLATFORM.description,
                "detail": "second",
                "location": {"ranges": ranges},
            }
        ],
        "sources": [
            {
                "filename": "Dockerfile",
                "data": base64.b64encode(SOURCE.text.encode()).decode(),
                "language": "Dockerfile",
            }
        ],
        "buildError": {"message": "wrong", "location": {"ranges": ranges}},
    }


def test_json_of_an_error_without_a_place() -> None:
    answer = check_answer(CheckResult(source=SOURCE, findings=(), error=NotFound("gone")))

    assert isinstance(answer.document, dict)
    assert answer.document["buildError"] == {"message": "gone", "location": {}}


def test_people_see_the_path_of_the_dockerfile() -> None:
    place = Location(source=SOURCE, start=1, end=1)
    error = DockerfileError("wrong", place=place)
    answer = check_answer(
        CheckResult(source=SOURCE, findings=(FIRST,), error=error), "sub/Dockerfile"
    )

    assert "\nsub/Dockerfile:1\n" in answer.text
    assert answer.error is not None
    assert answer.error.place is not None
    assert answer.error.place.excerpt().startswith("sub/Dockerfile:1\n")
    assert isinstance(answer.document, dict)
    assert answer.document["sources"][0]["filename"] == "Dockerfile"


@pytest.mark.parametrize(
    ("context", "dockerfile", "name"),
    [
        (".", "", "Dockerfile"),
        ("./sub/", "", "sub/Dockerfile"),
        ("/x", "", "/x/Dockerfile"),
        ("/x", "a/../D", "a/../D"),
        (".", "-", "stdin"),
        ("-", "", ""),
        ("https://example.com/x.git", "", ""),
    ],
)
def test_what_a_dockerfile_is_called(context: str, dockerfile: str, name: str) -> None:
    assert shown_name(BuildRequest(context=context, dockerfile=dockerfile)) == name
