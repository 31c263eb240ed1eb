"""Named contexts of all kinds, by root and by ordinary users."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine.programs import Person
from tests.support.machine.users import for_one_user

pytestmark = [pytest.mark.runtime, pytest.mark.root]

BASE = """\
FROM scratch
ARG TARGETARCH
COPY files/$TARGETARCH /arch
ENV A=1
ONBUILD COPY late /late
"""


def make_layout(who: Person, *words: str) -> None:
    """Write an image of two platforms into the layout `base`."""
    who.write("base.df", BASE)
    who.write("files/amd64", "amd64")
    who.write("files/arm64", "arm64")
    who.write("late", "late")
    platforms = "--platform=linux/amd64,linux/arm64"
    output = ",".join(("type=oci,tar=false,dest=base", *words))
    who.run("build", "-f", "base.df", platforms, "-o", output, ".").check()


def text(who: Person, name: str) -> str:
    return (who.work / "out" / name).read_text()


@for_one_user
def test_an_image_of_a_layout_as_base(who: Person) -> None:
    make_layout(who)
    who.write("Dockerfile", "FROM base\nCOPY files /files\n")
    context = "--build-context=base=oci-layout://base"
    output = "type=oci,tar=false,dest=image"

    who.run("build", context, "--platform=linux/arm64", "-o", "out", ".").check()
    who.run("build", context, "--platform=linux/arm64", "-o", output, ".").check()

    assert (text(who, "arch"), text(who, "late")) == ("arm64", "late")
    image = who.work / "image"
    (entry,) = json.loads((image / "index.json").read_text())["manifests"]
    manifest = document(image, entry)
    assert len(manifest["layers"]) == 3
    assert all(blob(image, layer).stat().st_size == layer["size"] for layer in manifest["layers"])
    config = document(image, manifest["config"])
    assert config["architecture"] == "arm64"
    assert "A=1" in config["config"]["Env"]
    assert "OnBuild" not in config["config"]


def document(image: Path, descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(blob(image, descriptor).read_text())
    return found


def blob(image: Path, descriptor: Mapping[str, Any]) -> Path:
    return image / "blobs" / str(descriptor["digest"]).replace(":", "/")


def test_images_of_a_layout_in_copies_and_mounts(who: Person) -> None:
    make_layout(who, "name=host/base:one")
    digest = json.loads((who.work / "base/index.json").read_text())["manifests"][0]["digest"]
    who.write(
        "Dockerfile",
        "FROM scratch AS one\nCOPY --from=tagged /arch /tagged\n"
        "FROM one\nCOPY --from=pinned /arch /pinned\n",
    )
    named = [
        f"--build-context=tagged=oci-layout://{who.work}/base:one",
        f"--build-context=pinned=oci-layout://./base@{digest}",
    ]

    who.run("build", *named, "-o", "out", ".").check()

    assert (text(who, "tagged"), text(who, "pinned")) == ("amd64", "amd64")


@for_one_user
def test_an_image_of_a_layout_in_the_place_of_a_stage(who: Person) -> None:
    make_layout(who)
    who.write("Dockerfile", "FROM nowhere AS one\nRUN no\nFROM scratch\nCOPY --from=0 / /\n")

    who.run("build", "--build-context=one=oci-layout://base", "-o", "out", ".").check()

    assert text(who, "arch") == "amd64"


def test_a_layout_that_is_none(root: Person) -> None:
    root.write("Dockerfile", "FROM base\n")
    root.write("directory/file", "")

    ended = root.run("build", "--build-context=base=oci-layout://directory", ".")

    assert ended.status == 1
    assert "directory isn't an OCI layout: it has no index.json" in ended.complaint()


def test_a_platform_that_the_layout_has_not(root: Person) -> None:
    make_layout(root)
    root.write("Dockerfile", "FROM base\n")
    words = ("--build-context=base=oci-layout://base", "--platform=linux/s390x")

    ended = root.run("build", *words, ".")

    assert ended.status == 1
    assert "no match for platform in manifest: linux/s390x not found" in ended.complaint()
    assert "linux/amd64, linux/arm64" in ended.complaint()


@for_one_user
def test_a_directory_with_its_own_ignore_file(who: Person) -> None:
    who.write(".dockerignore", "shared")
    who.write("shared", "")
    who.write("more/.dockerignore", "hidden")
    who.write("more/hidden", "")
    who.write("more/shared", "here")
    who.write("Dockerfile", "FROM scratch\nCOPY --from=more . /more\nCOPY --from=other . /other\n")
    words = ("--build-context=docker.io/library/more:latest=more", "--build-context=other=more")

    who.run("build", *words, "-o", "out", ".").check()

    assert text(who, "more/shared") == "here"
    assert not (who.work / "out/more/hidden").exists()


def test_a_directory_for_one_platform_only(root: Person) -> None:
    root.write("all/file", "all")
    root.write("one/file", "one")
    root.write("Dockerfile", "FROM scratch\nCOPY --from=more file /\n")
    words = ("--build-context=more=all", "--build-context=more::linux/arm64=one")

    root.run("build", *words, "--platform=linux/amd64,linux/arm64", "-o", "out", ".").check()

    assert text(root, "linux_amd64/file") == "all"
    assert text(root, "linux_arm64/file") == "one"


def test_a_target_of_a_bake_file(root: Person) -> None:
    root.write("Dockerfile", "FROM base\n")

    ended = root.run("build", "--build-context=base=target:base", ".")

    assert ended.status == 1
    assert "target:base names a target of a bake file" in ended.complaint()
