"""What `build --call` prints, as texts and as JSON."""

import pytest

from polyarch.cli.building.calls import (
    Answer,
    as_json,
    describe,
    known_call,
    metadata_of,
    outline_answer,
    targets_answer,
)
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.lowering.outline import outline
from polyarch.dockerfile.parser import parse
from polyarch.errors import InputError
from polyarch.graph.location import SourceText
from tests.support.dockerfiles.lowering import AMD64, IMAGES

TEXT = """# VER of the base
ARG VER=base
# first comes first
FROM $VER AS first
# NAME is for greetings
ARG NAME=you EMPTY
RUN --mount=type=secret,id=tok,required --mount=type=ssh true
RUN --mount=type=secret,id=other --mount=type=cache,target=/c <<END
true
END
"""


def at(*lines: int) -> dict[str, object]:
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}


def outlined(text: str) -> Answer:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    options = LowerOptions(build_platform=AMD64)
    return outline_answer(outline(dockerfile, AMD64, options=options, images=IMAGES))


def targets(text: str) -> Answer:
    return targets_answer(parse(SourceText(name="Dockerfile", text=text)))


def test_an_outline_as_text() -> None:
    assert outlined(TEXT).text.splitlines() == [
        "TARGET:      first",
        "DESCRIPTION: comes first",
        "",
        "BUILD ARG   VALUE   DESCRIPTION",
        "VER         base    of the base",
        "NAME        you     is for greetings",
        "EMPTY               ",
        "",
        "SECRET   REQUIRED",
        "tok      true",
        "other    ",
        "",
        "SSH       REQUIRED",
        "default   ",
        "",
    ]


def test_an_outline_as_json() -> None:
    answer = outlined(TEXT)

    assert isinstance(answer.document, dict)
    (source,) = answer.document.pop("sources")
    assert source.startswith("IyBWRVIgb2YgdGhl")
    assert answer.document == {
        "name": "first",
        "description": "comes first",
        "args": [
            {"name": "VER", "description": "of the base", "value": "base", "location": at(2)},
            {"name": "NAME", "description": "is for greetings", "value": "you", "location": at(6)},
            {"name": "EMPTY", "location": at(6)},
        ],
        "secrets": [
            {"name": "tok", "required": True, "location": at(7)},
            {"name": "other", "location": at(8, 9, 10)},
        ],
        "ssh": [{"name": "default", "location": at(7)}],
        "cache": [{"ID": "/c", "location": at(8, 9, 10)}],
    }


def test_an_outline_of_nothing_is_empty() -> None:
    answer = outlined("FROM scratch\n")

    assert (answer.text, answer.document) == ("", {"sources": ["RlJPTSBzY3JhdGNoCg=="]})


def test_targets_as_text() -> None:
    text = "# one is odd\nFROM scratch AS one\nFROM one\nFROM scratch AS last"
    assert targets(text).text.splitlines() == [
        "TARGET         DESCRIPTION",
        "one            is odd",
        "               ",
        "last (default) ",
    ]
    assert targets("FROM scratch").text == "TARGET    DESCRIPTION\n(default) \n"


def test_targets_as_json() -> None:
    text = "# one is odd\nFROM --platform=$P a AS one\nFROM one\n"
    assert targets(text).document == {
        "targets": [
            {
                "name": "one",
                "description": "is odd",
                "base": "a",
                "platform": "$P",
                "location": at(2),
            },
            {"default": True, "base": "one", "location": at(3)},
        ],
        "sources": ["IyBvbmUgaXMgb2RkCkZST00gLS1wbGF0Zm9ybT0kUCBhIEFTIG9uZQpGUk9NIG9uZQo="],
    }


def test_the_questions_that_there_are() -> None:
    answer = describe()

    assert answer.text.splitlines() == [
        "NAME                 VERSION DESCRIPTION",
        "outline              1.0.0   List all parameters current build target supports",
        "targets              1.0.0   List all targets current build supports",
        "subrequests.describe 1.0.0   List available subrequest types",
    ]
    assert isinstance(answer.document, list)
    assert answer.document[1] == {
        "name": "frontend.targets",
        "version": "1.0.0",
        "type": "rpc",
        "description": "List all targets current build supports",
        "opts": [],
        "inputs": None,
        "metadata": [
            {"name": "result.json", "description": ""},
            {"name": "result.txt", "description": ""},
        ],
        "refs": None,
    }


def test_json_is_written_as_go_does() -> None:
    assert as_json({"a": "<ä&>"}) == '{\n  "a": "\\u003cä\\u0026\\u003e"\n}'


@pytest.mark.parametrize(
    ("name", "suggestion"), [("nonsense", ""), ("otline", " (did you mean outline?)")]
)
def test_an_unknown_question(name: str, suggestion: str) -> None:
    with pytest.raises(InputError) as caught:
        known_call(name)

    assert str(caught.value) == f"failed to solve: unsupported request frontend.{name}{suggestion}"


def test_what_the_metadata_file_says() -> None:
    answer = Answer(document=[1], text="x\n")
    counted = Answer(document={}, text="", status=1, counted=True)

    assert metadata_of(answer) == {"result.json": [1], "result.txt": "x\n", "version": "1.0.0"}
    assert metadata_of(counted)["result.statuscode"] == "1"
