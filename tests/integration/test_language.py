"""What a Dockerfile means, seen in the images that come of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.machine.programs import Person

pytestmark = [pytest.mark.runtime, pytest.mark.root]


def config_of(who: Person, directory: str = "image") -> dict[str, Any]:
    """Return the config of the only image of an OCI layout."""
    blobs = who.work / directory / "blobs"

    def read(descriptor: dict[str, str]) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            (blobs / descriptor["digest"].replace(":", "/")).read_text()
        )
        return document

    (entry,) = json.loads((who.work / directory / "index.json").read_text())["manifests"]
    return read(read(entry)["config"])


def build(who: Person, text: str, *words: str) -> dict[str, Any]:
    who.write("Dockerfile", text)
    who.run("build", *words, "-o", "type=oci,tar=false,dest=image", ".").check()
    return config_of(who)


def test_a_date_in_the_future_is_that_of_the_history(root: Person) -> None:
    text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nCOPY Dockerfile /\nLABEL at=$SOURCE_DATE_EPOCH\n"

    config = build(root, text, "--build-arg=SOURCE_DATE_EPOCH=4102444800")

    assert {entry["created"] for entry in config["history"]} == {"2100-01-01T00:00:00Z"}
    assert config["config"]["Labels"] == {"at": "4102444800"}


def test_a_directory_keeps_its_spelling_and_is_made_without_it(root: Person) -> None:
    config = build(root, "FROM scratch\nWORKDIR /a/../b/\nCOPY Dockerfile c/\n")
    root.run("build", "-o", "out", ".").check()

    assert config["config"]["WorkingDir"] == "/a/../b/"
    assert (root.work / "out/b/c/Dockerfile").is_file()
    assert not (root.work / "out/a").exists()


def test_a_context_stands_in_for_the_target(root: Person) -> None:
    root.write("directory/file", "text")
    root.write("Dockerfile", "FROM scratch AS x\nCOPY nothing /\n")

    root.run("build", "--target=x", "--build-context=x=directory", "-o", "out", ".").check()

    assert (root.work / "out/file").read_text() == "text"


def test_a_frontend_that_is_not_built_in(root: Person) -> None:
    root.write("Dockerfile", "# syntax=me/else:1\nFROM scratch\nCOPY Dockerfile /\n")

    refused = root.run("build", "-o", "out", ".")
    root.run("build", "--build-arg=BUILDKIT_SYNTAX=docker/dockerfile:1", "-o", "out", ".").check()

    assert refused.status == 1
    assert "Dockerfile:1" in refused.complaint()
    assert "the frontend me/else:1 can't be run" in refused.complaint()
    assert (root.work / "out/Dockerfile").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--build-arg=BUILDKIT_MULTI_PLATFORM=x"], "invalid boolean value for multi-platform: x"),
        (
            ["--build-arg=BUILDKIT_MULTI_PLATFORM=0", "--platform=linux/amd64,linux/arm64"],
            "returning multiple target platforms is not allowed",
        ),
    ],
)
def test_indexes_that_can_not_be(root: Person, words: list[str], message: str) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")

    ended = root.run("build", *words, "-o", "type=oci,dest=image.tar", ".")

    assert ended.status == 1
    assert message in ended.complaint()
