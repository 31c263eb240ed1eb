"""Answers of daemons' frontends, printed as our own are."""

from __future__ import annotations

import json

import pytest

from polyarch.cli.building.calls import as_json
from polyarch.cli.building.check import check_answer
from polyarch.cli.building.told import told_answer
from polyarch.dockerfile.lint.linter import Finding
from polyarch.dockerfile.lint.rules import FROM_AS_CASING, INVALID_BASE_IMAGE_PLATFORM
from polyarch.errors import DockerfileError, IntegrityError
from polyarch.graph.location import Location, SourceText
from polyarch.pipeline.questions import CheckResult

SOURCE = SourceText(name="Dockerfile", text="FROM a as b\nRUN c \\\n  d\n")
PLACE = Location(source=SOURCE, start=2, end=3)
FINDINGS = (
    Finding(rule=INVALID_BASE_IMAGE_PLATFORM, detail="second", location=PLACE),
    Finding(rule=FROM_AS_CASING, detail="first", location=Location(source=SOURCE, start=1, end=1)),
)


@pytest.mark.parametrize(
    "found",
    [
        CheckResult(source=SOURCE, findings=()),
        CheckResult(source=SOURCE, findings=FINDINGS),
        CheckResult(source=SOURCE, findings=(), error=DockerfileError("wrong", place=PLACE)),
        CheckResult(source=SOURCE, findings=FINDINGS, error=DockerfileError("nowhere")),
    ],
)
def test_what_a_check_found(found: CheckResult) -> None:
    own = check_answer(found, "app/Dockerfile")

    answer = told_answer("lint", {"result.json": as_json(own.document).encode()}, "app/Dockerfile")

    assert (answer.text, answer.status, answer.document) == (own.text, own.status, own.document)
    told, expected = answer.error, own.error
    assert (str(told), told and told.place and told.place.excerpt()) == (
        str(expected),
        expected and expected.place and expected.place.excerpt(),
    )


def test_other_questions() -> None:
    told = {
        "result.json": json.dumps({"targets": []}).encode(),
        "result.txt": b"TARGET\n",
        "result.statuscode": b"3",
    }

    answer = told_answer("targets", told, "")

    assert (answer.document, answer.text, answer.status) == ({"targets": []}, "TARGET\n", 3)


@pytest.mark.parametrize(
    "data", [b"{", b'{"warnings": 1}', b'{"sources": [{"data": "!"}]}', b'{"buildError": []}']
)
def test_an_answer_that_is_none(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        told_answer("lint", {"result.json": data}, "")
