from __future__ import annotations

import json

import pytest

from polyarch.digest import sha256
from polyarch.errors import IntegrityError, NotFound
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import choose, parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import OCI_INDEX, OCI_MANIFEST
from polyarch.platforms import Platform, parse

DIGEST = sha256(b"")


def entry(platform: str, data: bytes = b"") -> Descriptor:
    return Descriptor(
        media_type=OCI_MANIFEST, digest=sha256(data), size=len(data), platform=parse(platform)
    )


def index(*entries: Descriptor) -> bytes:
    return json.dumps({"manifests": [each.to_json() for each in entries]}).encode()


def test_descriptor_goes_out_and_comes_in() -> None:
    descriptor = Descriptor(
        media_type=OCI_INDEX,
        digest=DIGEST,
        size=7,
        annotations={"b": "1", "a": "2"},
        platform=Platform(
            os="windows", architecture="arm64", variant="v8", os_version="10", os_features=("x",)
        ),
        urls=("https://example.com",),
        artifact_type="a/b",
        data="e30=",
    )

    written = descriptor.to_json()

    assert list(written) == [
        "mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType",
    ]  # fmt: skip
    assert Descriptor.from_json(written) == descriptor


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "the document is no JSON: "),
        (b"[]", "the document is a list instead of an object"),
        (b'{"layers": []}', "config is missing"),
        (b'{"config": {"digest": 1}}', "config.digest is a number, which it can't be"),
        (b'{"manifests": []}', "the manifest has manifests, as only an index may"),
        (b'{"fsLayers": []}', "the manifest is of schema 1, which isn't supported"),
        (
            b'{"config": {"digest": "%s", "size": -1}}' % DIGEST.encode(),
            "config.size is -1 instead of a size",
        ),
    ],
)
def test_manifest_tells_where_it_is_wrong(document: bytes, message: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse_manifest(document)

    assert str(caught.value).partition(" can't be read: ")[2].startswith(message)


def test_wrong_digest_tells_its_place() -> None:
    with pytest.raises(IntegrityError, match=r"manifests\[0\]\.digest: invalid digest 'md5:0'"):
        parse_index(b'{"manifests": [{"digest": "md5:0", "size": 0}]}')


def test_best_manifest_is_chosen() -> None:
    offered = parse_index(
        index(entry("unknown/unknown"), entry("linux/arm/v6"), entry("linux/arm/v7"))
    )

    assert choose(offered, parse("linux/arm64")) == entry("linux/arm/v7")
    assert choose(offered, parse("linux/arm/v6")) == entry("linux/arm/v6")


def test_missing_platform_names_those_that_exist() -> None:
    offered = parse_index(index(entry("unknown/unknown"), entry("linux/arm64")))

    with pytest.raises(NotFound, match="no match for platform in manifest") as caught:
        choose(offered, parse("linux/s390x"))

    assert caught.value.hint == "the image is for linux/arm64"
