import base64
import json

from polyarch.cli.check import as_json, as_text
from polyarch.dockerfile.lint import Finding
from polyarch.dockerfile.rules import FROM_AS_CASING, INVALID_BASE_IMAGE_PLATFORM
from polyarch.errors import DockerfileError, NotFound
from polyarch.graph.location import Location, SourceText
from polyarch.pipeline import CheckResult

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
    shown = as_text(CheckResult(source=SOURCE, findings=(SECOND, FIRST)))

    lines = shown.splitlines()
    assert lines[:5] == [
        "Check complete, 2 warnings have been found!",
        "",
        "WARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
        "first",
        "Dockerfile:1",
    ]
    assert "   1 | >>> FROM a as b" in lines
    assert "WARNING: InvalidBaseImagePlatform" in lines


def test_text_of_few_findings() -> None:
    assert as_text(CheckResult(source=SOURCE, findings=())) == "Check complete, no warnings found."
    one = as_text(CheckResult(source=SOURCE, findings=(FIRST,)))
    assert one.startswith("Check complete, 1 warning has been found!\n")


def test_json_has_a_range_for_each_line() -> None:
    place = Location(source=SOURCE, start=2, end=3)
    error = DockerfileError("wrong", place=place)
    shown = json.loads(as_json(CheckResult(source=SOURCE, findings=(SECOND,), error=error)))

    ranges = [{"start": {"line": line}, "end": {"line": line}} for line in (2, 3)]
    assert shown["warnings"] == [
        {
            "ruleName": "InvalidBaseImagePlatform",
            "description": INVALID_BASE_IMAGE_PLATFORM.description,
            "detail": "second",
            "location": {"ranges": ranges},
        }
    ]
    assert shown["buildError"] == {"message": "wrong", "location": {"ranges": ranges}}
    assert base64.b64decode(shown["sources"][0]["data"]).decode() == SOURCE.text


def test_json_of_an_error_without_a_place() -> None:
    shown = json.loads(as_json(CheckResult(source=SOURCE, findings=(), error=NotFound("gone"))))

    assert shown["buildError"] == {"message": "gone"}
