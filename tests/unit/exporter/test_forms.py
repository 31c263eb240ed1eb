"""What outputs want of an image: forms, names and media types."""

from __future__ import annotations

import pytest

from polyarch.digest import DiffID, sha256
from polyarch.errors import InputError
from polyarch.exporter.forms import as_before, check_forms, form_of
from polyarch.exporter.layers import ExportedLayer
from polyarch.exporter.naming import image_names, pushed_names, stored_names
from polyarch.exporter.outputs import Forms
from polyarch.exporter.types import Types
from polyarch.layer.kinds import TOC_DIGEST, Compression
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.request.values import Output
from tests.support.images.exports import AMD64

DIGEST = sha256(b"image")


def output(**attributes: str) -> Output:
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return Output(type="image", attributes=named)


def test_outputs_that_want_the_same_share_a_form() -> None:
    plain = form_of(output(name="a"), 5)

    assert plain == form_of(output(name="b", compression="gzip"), 5)
    assert plain != form_of(output(compression="zstd"), 5)
    assert plain.epoch == 5


def test_what_a_form_says() -> None:
    asked = output(
        compression="estargz", compression_level="3", force_compression="", rewrite_timestamp="true"
    )

    form = form_of(asked, 7)

    assert (form.choice.kind, form.choice.level) == (Compression.ESTARGZ, 3)
    assert (form.choice.is_forced, form.choice.latest) == (True, 7)
    assert form.types == Types()


@pytest.mark.parametrize(
    ("version", "says", "is_oci"),
    [("30", None, True), ("20", None, False), ("10", None, False), ("20", "true", True)],
)
def test_media_types_of_older_versions(version: str, says: str | None, is_oci: bool) -> None:
    more = {} if says is None else {"oci_mediatypes": says}

    form = form_of(output(compatibility_version=version, **more), None)

    assert form.types.is_oci is is_oci


def test_what_is_attested_has_oci_s_media_types_in_older_versions_too() -> None:
    old, said, new, files = (
        output(compatibility_version="20"),
        output(compatibility_version="20", oci_mediatypes="false"),
        output(),
        Output(type="local"),
    )
    forms = Forms(platforms=(AMD64,), is_attested_inline=True)

    before = as_before([old, said, new, files], forms)

    assert [form_of(each, None).types.is_oci for each in before[:3]] == [True, False, True]
    assert before[0].attributes["oci-artifact"] == "false"
    assert before[2:] == (new, files)
    assert as_before([old], Forms(platforms=(AMD64,))) == (old,)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"compression": "estargz", "oci-mediatypes": "false"},
            'exporter option "compression=estargz" conflicts with "oci-mediatypes=false"',
        ),
        (
            {"oci-artifact": "true", "oci-mediatypes": "false"},
            'exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"',
        ),
        (
            {"annotation-index.a": "b", "oci-mediatypes": "false"},
            'cannot export annotations with "oci-mediatypes=false"',
        ),
        ({"compression": "lz4"}, "unsupported compression type lz4"),
        (
            {"force-compression": "yes"},
            'non-bool value yes specified for force-compression: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            {"compatibility-version": "31"},
            "unsupported compatibility-version 31 (supported: [10 20 30])",
        ),
    ],
)
def test_what_no_image_can_be(attributes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_forms([Output(type="image", attributes=attributes)], Forms(platforms=(AMD64,)))

    assert str(caught.value) == message


# Names


def names(asked: Output) -> tuple[list[str], list[str], list[str]]:
    image = image_names(asked, DIGEST)
    found = (image, pushed_names(asked, image, DIGEST), stored_names(asked, image, DIGEST))
    return tuple([each.familiar for each in some] for some in found)  # type: ignore[return-value]


def test_names_as_they_are() -> None:
    assert names(output(name="a:1,b")) == (["a:1", "b"], ["a:1", "b"], ["a:1", "b"])


def test_names_in_layouts_have_tags() -> None:
    asked = Output(type="oci", attributes={"name": "a:1,b"})

    assert names(asked)[0] == ["a:1", "b:latest"]


def test_names_by_the_digest_alone() -> None:
    by_digest = [f"a@{DIGEST}"]

    assert names(output(name="a", push_by_digest="true")) == (["a"], by_digest, by_digest)


def test_a_name_with_the_digest_beside_it() -> None:
    assert names(output(name="a:1", name_canonical=""))[2] == ["a:1", f"a@{DIGEST}"]


def test_a_prefix_for_images_without_a_name() -> None:
    dangling = f"b@{DIGEST}"

    assert names(output(dangling_name_prefix="b"))[0] == [dangling]
    assert names(output(name="a", dangling_name_prefix="b"))[0] == ["a", dangling]
    only = output(name="a", dangling_name_prefix="b", danging_name_empty_only="true")
    assert names(only)[0] == ["a"]


# Media types


@pytest.mark.parametrize(
    ("types", "media_type", "expected"),
    [
        (Types(), media.DOCKER_LAYER_GZIP, media.OCI_LAYER_GZIP),
        (Types(is_oci=False), media.OCI_LAYER_ZSTD, media.DOCKER_LAYER_ZSTD),
        (Types(), media.DOCKER_FOREIGN_LAYER_GZIP, media.OCI_LAYER_GZIP),
        (
            Types(is_oci=False, keeps_foreign=True),
            media.DOCKER_FOREIGN_LAYER_GZIP,
            media.DOCKER_FOREIGN_LAYER_GZIP,
        ),
        (
            Types(keeps_foreign=True),
            media.DOCKER_LAYER_GZIP,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ),
    ],
)
def test_types_of_layers(types: Types, media_type: str, expected: str) -> None:
    old = Descriptor(media_type=media_type, digest=DIGEST, size=1, urls=("https://x",))
    layer = ExportedLayer(descriptor=old, diff_id=DiffID(DIGEST))

    assert types.described(layer).descriptor.media_type == expected


def test_annotations_of_layers() -> None:
    noted = {TOC_DIGEST: "t", "who": "made it"}
    old = Descriptor(media_type=media.OCI_LAYER_GZIP, digest=DIGEST, size=1, annotations=noted)
    layer = ExportedLayer(descriptor=old, diff_id=DiffID(DIGEST))

    assert Types().described(layer).descriptor.annotations == {TOC_DIGEST: "t"}
    assert Types(is_oci=False).described(layer).descriptor.annotations == {}
