from collections.abc import Mapping

import pytest

from polyarch.errors import InputError
from polyarch.exporter.annotations import (
    INDEX,
    INDEX_DESCRIPTOR,
    MANIFEST,
    MANIFEST_DESCRIPTOR,
    Annotations,
    annotated,
)
from polyarch.platforms import Platform, parse
from polyarch.request.annotation import Annotation
from polyarch.request.values import Output
from tests.support.images.platforms import AMD64, ARM64


@pytest.mark.parametrize(
    ("attributes", "level", "platform", "found"),
    [
        ({"annotation.a.b": "1"}, MANIFEST, AMD64, {"a.b": "1"}),
        ({"annotation-manifest[linux/amd64].a": "1"}, MANIFEST, AMD64, {"a": "1"}),
        ({"annotation-manifest[linux/amd64].a": "1"}, MANIFEST, ARM64, {}),
        ({"annotation-manifest[linux/arm64/v8].a": "1"}, MANIFEST, ARM64, {"a": "1"}),
        ({"annotation[linux/amd64].a": "1"}, MANIFEST, AMD64, {"a": "1"}),
        ({"annotation-index.a": "1", "annotation.a": "2"}, INDEX, None, {"a": "1"}),
        ({"annotation-index-descriptor.a": "1"}, INDEX_DESCRIPTOR, None, {"a": "1"}),
        ({"annotation-index[linux/arm64].a": "1"}, INDEX, None, {"a": "1"}),
        ({"annotation-manifest-descriptor.a": "1"}, MANIFEST_DESCRIPTOR, AMD64, {"a": "1"}),
        ({"annotation.b": "1", "annotation.a": "2"}, MANIFEST, AMD64, {"a": "2", "b": "1"}),
        ({"annotation[linux/amd64].a": "1", "annotation.a": "2"}, MANIFEST, AMD64, {"a": "1"}),
        ({"annotation[linux/amd64].a": "1", "annotation.a": "2"}, MANIFEST, ARM64, {"a": "2"}),
        ({"name": "x", "annotations": "y"}, MANIFEST, AMD64, {}),
    ],
)
def test_annotations_of_attributes(
    attributes: Mapping[str, str], level: str, platform: Platform | None, found: Mapping[str, str]
) -> None:
    assert Annotations.parse(attributes).find(level, platform) == found


@pytest.mark.parametrize("name", ["annotation-layer.a", "annotation[nowhere/].a"])
def test_annotations_that_nobody_knows(name: str) -> None:
    with pytest.raises(InputError):
        Annotations.parse({name: "1"})


def test_annotations_are_for_platforms_of_the_build() -> None:
    found = Annotations.parse({"annotation-manifest[linux/arm64].a": "1", "annotation.b": "2"})

    found.check_platforms((AMD64, ARM64))
    # One setting may be shared by builds of one platform each.
    found.check_platforms((AMD64,))
    with pytest.raises(InputError, match="invalid annotation: no platform linux/arm64 found"):
        found.check_platforms((AMD64, parse("linux/arm/v7")))


def test_the_request_s_annotations_are_for_all_outputs() -> None:
    outputs = (Output(type="oci"), Output(type="image", attributes={"name": "x"}))

    changed = annotated(
        outputs,
        [
            Annotation(key="a", value="1"),
            Annotation(level="index", platform=parse("linux/arm"), key="b", value="2"),
        ],
    )

    added = {"annotation-manifest.a": "1", "annotation-index[linux/arm].b": "2"}
    assert [each.attributes for each in changed] == [added, {"name": "x", **added}]
    parsed = Annotations.parse(changed[0].attributes).entries
    assert parsed[1] == Annotation(
        level="index", platform=parse("linux/arm/v7"), key="b", value="2"
    )
