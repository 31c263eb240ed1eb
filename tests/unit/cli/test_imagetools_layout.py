"""Layouts as places: many writers at once, and folders that mean ill."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyarch.cli.imagetools_layout import FolderPlace
from polyarch.cli.imagetools_sources import LayoutName, parse_name
from polyarch.digest import sha256
from polyarch.errors import IntegrityError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_INDEX

INDEX = b'{"schemaVersion":2,"manifests":[]}'
ROOT = Descriptor(media_type=OCI_INDEX, digest=sha256(INDEX), size=len(INDEX))


def name(folder: Path, tag: str) -> LayoutName:
    return LayoutName(folder=folder, tag=tag)


def test_many_names_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    tags = {f"t{number}" for number in range(40)}

    with ThreadPoolExecutor(8) as pool:
        for done in [
            pool.submit(FolderPlace(folder).tag, name(folder, tag), ROOT, INDEX) for tag in tags
        ]:
            done.result()

    listed = json.loads((folder / "index.json").read_text())["manifests"]
    assert {each["annotations"]["org.opencontainers.image.ref.name"] for each in listed} == tags
    assert sorted(os.listdir(folder)) == ["blobs", "index.json", "oci-layout"]


def test_what_others_wrote_into_the_index_stays(tmp_path: Path) -> None:
    FolderPlace(tmp_path).tag(name(tmp_path, "a"), ROOT, INDEX)
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**index, "annotations": {"a": "b"}}))

    FolderPlace(tmp_path).tag(name(tmp_path, "b"), ROOT, INDEX)

    assert json.loads((tmp_path / "index.json").read_text())["annotations"] == {"a": "b"}


def test_bytes_that_are_others(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    place.tag(name(tmp_path, "a"), ROOT, INDEX)
    (tmp_path / "blobs/sha256" / ROOT.digest[7:]).write_bytes(b"{}")

    with pytest.raises(IntegrityError, match="are others"):
        place.resolve(name(tmp_path, "a"))


def test_indexes_in_indexes_without_end(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    inner, data = ROOT, INDEX
    for _ in range(12):
        listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner.to_json()]}
        place.put_manifest(inner, data, None)
        data = json.dumps(listed).encode()
        inner = Descriptor(media_type=OCI_INDEX, digest=sha256(data), size=len(data))

    with pytest.raises(IntegrityError, match="more than 8 deep"):
        place.tag(name(tmp_path, "a"), inner, data)


@pytest.mark.parametrize(
    ("text", "path", "tag", "has_digest"),
    [
        ("oci-layout:///a/b", "/a/b", "latest", False),
        ("oci-layout:///a/b:1.3", "/a/b", "1.3", False),
        (f"oci-layout:///a/b@{ROOT.digest}", "/a/b", "", True),
        (f"oci-layout:///a/@/b@{ROOT.digest}", "/a/@/b", "", True),
        ("oci-layout:///a/@/b", "/a/@/b", "latest", False),
        ("oci-layout://a:1.3", "a", "1.3", False),
        ("oci-layout:///a:b/c", "/a:b/c", "latest", False),
        (f"oci-layout:///a:x@{ROOT.digest}", "/a", "x", True),
    ],
)
def test_names(text: str, path: str, tag: str, *, has_digest: bool) -> None:
    found = parse_name(text)

    assert isinstance(found, LayoutName)
    assert (str(found.folder), found.tag, bool(found.digest)) == (path, tag, has_digest)
