from __future__ import annotations

import pytest

from polyarch.dockerfile.args import (
    global_scope,
    platform_args,
)
from polyarch.dockerfile.parser import parse
from polyarch.errors import DockerfileError
from polyarch.graph.location import SourceText
from tests.support.images.platforms import AMD64, ARM_V7, windows


def scope_of(text: str, build_args: dict[str, str]) -> dict[str, str]:
    dockerfile = parse(SourceText(name="Dockerfile", text=f"{text}\nFROM a\n"))
    return global_scope(dockerfile.global_args, build_args, {"TARGETARCH": "arm64"})


def test_platform_args() -> None:
    args = platform_args(ARM_V7, AMD64)

    assert args == {
        "BUILDPLATFORM": "linux/amd64",
        "BUILDOS": "linux",
        "BUILDOSVERSION": "",
        "BUILDARCH": "amd64",
        "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETOS": "linux",
        "TARGETOSVERSION": "",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
        "TARGETSTAGE": "default",
    }


def test_platform_args_of_a_version_and_a_stage() -> None:
    args = platform_args(windows("amd64", "10.0.17763"), AMD64, stage="final")

    assert args["TARGETPLATFORM"] == "windows(10.0.17763)/amd64"
    assert args["TARGETOSVERSION"] == "10.0.17763"
    assert args["TARGETSTAGE"] == "final"


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        ("ARG a=1", {}, {"a": "1"}),
        ("ARG a=1", {"a": "2"}, {"a": "2"}),
        ("ARG a", {"a": "2"}, {"a": "2"}),
        ("ARG a", {}, {}),
        ("", {"a": "2"}, {}),
        ("ARG a=1 b=$a-$TARGETARCH c=${b%-*}", {}, {"a": "1", "b": "1-arm64", "c": "1"}),
        ("ARG a='$b'", {}, {"a": "$b"}),
        ("ARG a=$b\nARG b=1", {}, {"a": "", "b": "1"}),
        ("ARG a=1\nARG a", {}, {"a": "1"}),
    ],
)
def test_global_scope(text: str, build_args: dict[str, str], expected: dict[str, str]) -> None:
    assert scope_of(text, build_args) == {"TARGETARCH": "arm64", **expected}


def test_build_args_replace_platform_args() -> None:
    assert scope_of("ARG a=$TARGETARCH", {"TARGETARCH": "s390x"}) == {
        "TARGETARCH": "s390x",
        "a": "s390x",
    }


def test_global_scope_names_the_place() -> None:
    with pytest.raises(DockerfileError, match="a: is not allowed to be unset") as caught:
        scope_of("\nARG b=${a?}", {})

    assert caught.value.line == 2
