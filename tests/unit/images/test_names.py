"""What names mean: places, tags and digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.images.names import LayoutName, RegistryName, Source, parse_name, parse_sources
from polyarch.oci.descriptor import Descriptor

ONES = Digest("sha256:" + "1" * 64)


@pytest.mark.parametrize(
    ("text", "place", "target", "tag"),
    [
        ("app", "docker.io/library/app", "latest", "latest"),
        ("example.org/you/app:1", "example.org/you/app", "1", "1"),
        (f"example.org/app@{ONES}", "example.org/app", ONES, ""),
        (f"example.org/app:1@{ONES}", "example.org/app", ONES, "1"),
        ("oci-layout:///a/b", "oci-layout:///a/b", "latest", "latest"),
        ("oci-layout:///a/b:1.3", "oci-layout:///a/b", "1.3", "1.3"),
        (f"oci-layout:///a/b@{ONES}", "oci-layout:///a/b", ONES, ""),
        (f"oci-layout:///a/@/b@{ONES}", "oci-layout:///a/@/b", ONES, ""),
        ("oci-layout:///a/@/b", "oci-layout:///a/@/b", "latest", "latest"),
        ("oci-layout://a:1.3", "oci-layout://a", "1.3", "1.3"),
        ("oci-layout:///a:b/c", "oci-layout:///a:b/c", "latest", "latest"),
        (f"oci-layout:///a:x@{ONES}", "oci-layout:///a", ONES, ""),
    ],
)
def test_what_a_name_means(text: str, place: str, target: str, tag: str) -> None:
    found = parse_name(text)

    assert (found.place, found.target, found.tag) == (place, target, tag)


@pytest.mark.parametrize(
    ("text", "written", "other"),
    [
        ("app", "docker.io/library/app:latest", f"docker.io/library/app:latest@{ONES}"),
        ("oci-layout://a", "oci-layout://a:latest", f"oci-layout://a@{ONES}"),
        ("oci-layout://a:1", "oci-layout://a:1", f"oci-layout://a@{ONES}"),
    ],
)
def test_a_name_in_full_and_with_another_digest(text: str, written: str, other: str) -> None:
    name = parse_name(text)

    assert (str(name), str(name.with_digest(ONES))) == (written, other)


def test_a_directory_with_a_colon_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a:1").mkdir()

    assert parse_name(f"oci-layout://{tmp_path}/a:1").short == f"{tmp_path}/a:1"


@pytest.mark.parametrize("text", ["", ":tag", "a@sha256:12", "a@"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError):
        parse_name(f"oci-layout://{text}")


def test_a_digest_is_looked_for_in_the_only_place() -> None:
    named, by_digest, told = parse_sources(
        ["example.org/app:1", ONES, f'{{"digest": "{ONES}", "mediaType": "a/b"}}'], ()
    )

    elsewhere = parse_name(f"example.org/app:1@{ONES}")
    assert named == Source(name=parse_name("example.org/app:1"))
    assert by_digest.name == told.name == elsewhere
    assert told.told == Descriptor(media_type="a/b", digest=ONES, size=0)


@pytest.mark.parametrize(
    ("texts", "tags", "problem"),
    [
        ([ONES], [], "no repositories specified"),
        ([ONES], ["example.org/a", "oci-layout://b"], "multiple repositories specified"),
        (["UPPER"], [], 'failed to parse source "UPPER"'),
        (["{"], [], "this is no descriptor"),
        (['{"schemaVersion": 2, "digest": "x"}'], [], "got a manifest or index"),
        (['{"digest": "sha256:1"}'], [], "invalid descriptor digest"),
        (["sha256:1"], [], "failed to parse source"),
    ],
)
def test_sources_that_are_refused(texts: list[str], tags: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse_sources(texts, [parse_name(tag) for tag in tags])


def test_names_are_values() -> None:
    assert parse_name("app") == parse_name("docker.io/library/app")
    assert isinstance(parse_name("oci-layout://a"), LayoutName)
    assert isinstance(parse_name("a"), RegistryName)
