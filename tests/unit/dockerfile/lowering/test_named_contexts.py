"""Named contexts in the place of images and stages."""

from __future__ import annotations

import pytest

from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.graph.graph import GraphMaker, walk
from polyarch.graph.location import SourceText
from polyarch.graph.op import ImageOp, LocalOp
from polyarch.platforms import Platform
from tests.support.dockerfiles.lowering import AMD64, ARM64, IMAGES

IMAGE = "docker-image://base"


def lowered(text: str, platform: Platform = AMD64, target: str = "", **contexts: str) -> Lowered:
    names = {name.replace("__", "::").replace("_", "/"): value for name, value in contexts.items()}
    options = LowerOptions(build_platform=AMD64, contexts=names, target=target)
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    return lower(dockerfile, platform, options=options, maker=GraphMaker(), images=IMAGES)


def read(image: Lowered) -> list[str]:
    """Return the images and contexts that are read."""
    ops = [vertex.op for vertex in walk([image.vertex])]
    found = [op.reference for op in ops if isinstance(op, ImageOp)]
    return sorted([*found, *(op.name for op in ops if isinstance(op, LocalOp))])


@pytest.mark.parametrize(
    "name",
    ["alpine", "alpine:latest", "docker.io/library/alpine", "index.docker.io/library/alpine"],
)
def test_all_spellings_of_an_image(name: str) -> None:
    assert read(lowered(f"FROM {name}\n", alpine=IMAGE)) == ["base"]
    assert read(lowered(f"FROM {name}\n", alpine="directory")) == ["alpine"]
    assert read(lowered(f"FROM scratch\nCOPY --from={name} / /\n", alpine="directory")) == [
        "alpine"
    ]


def test_an_image_of_another_tag_is_another() -> None:
    assert read(lowered("FROM base\nCOPY --from=onbuild / /\n", onbuild__x="directory")) == [
        "base",
        "onbuild",
    ]


@pytest.mark.parametrize("source", ["one", "0", "ONE"])
def test_a_stage_however_it_is_named(source: str) -> None:
    text = f"FROM base AS one\nRUN x\nFROM scratch\nCOPY --from={source} / /\n"

    assert read(lowered(text, one="directory")) == ["one"]


def test_a_stage_as_base() -> None:
    assert read(lowered("FROM base AS one\nRUN x\nFROM one\n", one="directory")) == ["one"]


def test_a_stage_that_is_the_target() -> None:
    image = lowered("FROM base AS one\nENV A=1\nCOPY x /\n", one="docker-image://onbuild")

    assert read(image) == ["onbuild"]
    assert image.config.run.on_build == ("RUN one", "COPY . /x")
    assert "A=1" not in image.config.run.env


def test_one_for_a_platform_goes_first() -> None:
    contexts = {"alpine": "directory", "alpine__linux_arm64": IMAGE}

    assert read(lowered("FROM alpine\n", AMD64, **contexts)) == ["alpine"]
    assert read(lowered("FROM alpine\n", ARM64, **contexts)) == ["base"]


def test_the_empty_image() -> None:
    image = lowered("FROM alpine\nCOPY --from=other / /\n", alpine="docker-image://scratch",
                    other="docker-image://scratch")  # fmt: skip

    assert read(image) == []


@pytest.mark.parametrize("name", ["scratch", "context"])
def test_names_that_always_mean_the_same(name: str) -> None:
    contexts = {name: IMAGE}

    assert read(lowered("FROM scratch\nCOPY a /\n", AMD64, "", **contexts)) == ["context"]


def test_an_image_of_a_layout() -> None:
    images = {**IMAGES.configs, "oci-layout://directory:tag": {"OnBuild": ["LABEL a=b"]}}
    options = LowerOptions(build_platform=AMD64, contexts={"x": "oci-layout://directory:tag"})
    dockerfile = parse(SourceText(name="Dockerfile", text="FROM x\n"))
    image = lower(
        dockerfile,
        AMD64,
        options=options,
        maker=GraphMaker(),
        images=type(IMAGES)(images),
    )

    assert read(image) == ["oci-layout://directory:tag"]
    assert image.config.run.labels == {"a": "b"}
