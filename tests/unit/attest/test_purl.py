"""Package URLs of images, as BuildKit wrote them of the same names."""

from __future__ import annotations

import pytest

from polyarch.attest.purl import image_url
from polyarch.platforms import Platform, linux

DIGEST = "sha256:" + "2f" * 32


@pytest.mark.parametrize(
    ("reference", "platform", "expected"),
    [
        (
            "127.0.0.1:5077/library/busybox:latest",
            linux("amd64"),
            "pkg:docker/127.0.0.1%3A5077/library/busybox@latest?platform=linux%2Famd64",
        ),
        ("docker.io/library/alpine:3.19", None, "pkg:docker/alpine@3.19"),
        ("docker.io/library/alpine", None, "pkg:docker/alpine@latest"),
        (
            f"example.test/a/b@{DIGEST}",
            linux("arm64", "v8"),
            f"pkg:docker/example.test/a/b?digest={DIGEST}&platform=linux%2Farm64",
        ),
        (f"user/app:1@{DIGEST}", None, f"pkg:docker/user/app@1?digest={DIGEST}"),
        (
            "oci-layout:///home/me/base:v1",
            linux("arm", "v7"),
            "pkg:oci/base@v1?platform=linux%2Farm%2Fv7",
        ),
        ("oci-layout:///home/Me/Base", None, "pkg:oci/Base@latest"),
    ],
)
def test_urls_of_images(reference: str, platform: Platform | None, expected: str) -> None:
    assert image_url(reference, platform) == expected
