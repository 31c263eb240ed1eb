"""Results of frontends at the client: what is refused, what is odd, and what is said of images beside graphs."""

from __future__ import annotations

import json

import pytest

from polyarch.errors import InputError
from polyarch.platforms import host
from polyarch.serve.messages import Exported
from polyarch.serve.results import (
    check_result,
    names_of,
    remark_on,
    response_of,
    with_metadata,
)


def listed(*platforms: tuple[str, str, str]) -> dict[str, bytes]:
    told = [
        {"ID": name, "Platform": {"os": system, "architecture": machine}}
        for name, system, machine in platforms
    ]
    return {"refs.platforms": json.dumps({"Platforms": told}).encode()}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"containerimage.config": b"null"}, "invalid null image config for export"),
        (
            {"containerimage.config/linux/amd64": b'{"architecture": "amd64"}'},
            "os and architecture must be specified together",
        ),
        ({"containerimage.config": b"{"}, "can't be read"),
        ({"refs.platforms": b"null"}, "invalid empty platforms index"),
        (listed(("", "linux", "amd64")), "invalid empty platform key"),
        (listed(("one", "", "")), "invalid platform value"),
        ({"source.date.epoch": b"soon"}, "invalid SOURCE_DATE_EPOCH"),
    ],
)
def test_what_no_result_can_be_is_refused(metadata: dict[str, bytes], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_result(metadata)


def test_what_results_are_is_taken() -> None:
    check_result(
        {
            **listed(("linux/arm64", "linux", "arm64")),
            "containerimage.config/linux/arm64": b'{"os": "linux", "architecture": "arm64"}',
            "source.date.epoch": b"1700000000",
        }
    )


def test_platforms_that_are_not_those_asked_for_are_remarked_on() -> None:
    two = ["linux/amd64", "linux/arm64"]
    other = "linux/riscv64"
    config = {"containerimage.config": b'{"os": "linux", "architecture": "riscv64"}'}

    assert remark_on(",".join(two), two, {}) == ""
    assert remark_on("", [str(host())], {}) == ""
    assert remark_on("", [""], {}) == ""
    assert "not multi-platform" in remark_on(",".join(two), [""], {})
    assert "do not match result platforms linux/amd64,linux/arm64" in remark_on(other, two, {})
    assert remark_on(other, [""], config) == ""
    assert "does not match result platform" in remark_on("linux/s390x", [""], config)
    assert remark_on("no platform", two, {}) == ""


def test_results_are_exported_in_the_order_that_is_told() -> None:
    metadata = listed(("linux/arm64", "linux", "arm64"), ("linux/amd64", "linux", "amd64"))

    assert names_of({"linux/amd64": "a", "linux/arm64": "b"}, metadata) == [
        "linux/arm64",
        "linux/amd64",
    ]
    assert names_of({"": ""}, metadata) == ["linux/arm64", "linux/amd64"]
    assert names_of({"": "a"}, {}) == [""]
    assert names_of({}, {}) == [""]


def test_images_have_what_the_frontend_says_unless_the_client_does() -> None:
    metadata = {
        "annotation-manifest.a": b"theirs",
        "annotation-index.b": b"theirs",
        "image.name": b"app:1",
        "frontend.said": b"so",
    }
    exporters = (
        Exported(type="image", attributes={"name": "*", "annotation-index.b": "mine"}),
        Exported(type="image", attributes={"name": "other"}),
    )

    first, second = with_metadata(exporters, metadata)

    assert first.attributes == {
        "annotation-manifest.a": "theirs",
        "annotation-index.b": "mine",
        "name": "app:1",
    }
    assert second.attributes["name"] == "other"
    assert response_of(metadata) == {"frontend.said": "so"}
