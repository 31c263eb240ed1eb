"""Layouts as places: many writers at once, and directories that mean ill."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyarch.digest import Digest, sha256
from polyarch.errors import InputError, IntegrityError, NotFound, PolyarchError
from polyarch.images.layout import Layout, open_layout, parse_layout
from polyarch.images.place import read_blob
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_INDEX, OCI_MANIFEST

INDEX = b'{"schemaVersion":2,"manifests":[]}'
ONES = "sha256:" + "1" * 64
ROOT = Descriptor(media_type=OCI_INDEX, digest=sha256(INDEX), size=len(INDEX))


def test_many_names_at_once(tmp_path: Path) -> None:
    directory = tmp_path / "layout"
    tags = {f"t{number}" for number in range(40)}

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(Layout(directory).tag, tag, ROOT, INDEX) for tag in tags]:
            done.result()

    listed = json.loads((directory / "index.json").read_text())["manifests"]
    assert {each["annotations"]["org.opencontainers.image.ref.name"] for each in listed} == tags
    assert sorted(os.listdir(directory)) == ["blobs", "index.json", "ingest", "oci-layout"]


def test_what_others_wrote_into_the_index_stays(tmp_path: Path) -> None:
    Layout(tmp_path).tag("a", ROOT, INDEX)
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**index, "annotations": {"a": "b"}}))

    Layout(tmp_path).tag("b", ROOT, INDEX)

    assert json.loads((tmp_path / "index.json").read_text())["annotations"] == {"a": "b"}


def test_bytes_that_are_others(tmp_path: Path) -> None:
    place = Layout(tmp_path)
    place.tag("a", ROOT, INDEX)
    blob = tmp_path / "blobs/sha256" / ROOT.digest[7:]
    blob.chmod(0o644)
    blob.write_bytes(b"{}")

    with pytest.raises(IntegrityError, match="are others"):
        place.load("a")


def test_indexes_in_indexes_without_end(tmp_path: Path) -> None:
    place = Layout(tmp_path)
    inner, data = ROOT, INDEX
    for _ in range(12):
        listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner.to_json()]}
        place.put_manifest(inner, data, None)
        data = json.dumps(listed).encode()
        inner = Descriptor(media_type=OCI_INDEX, digest=sha256(data), size=len(data))

    place.tag("a", inner, data)
    with pytest.raises(IntegrityError, match="more than 8 deep"):
        place.referrers(ROOT.digest)


# Reading what others wrote


def layout(directory: Path, **names: str) -> str:
    """Write a layout of documents, each under a name; return its address."""
    (directory / "blobs/sha256").mkdir(parents=True)
    entries = []
    for name, text in names.items():
        digest = put(directory, text.encode())
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(text)}
        entries.append({**entry, "annotations": annotations})
    (directory / "index.json").write_text(json.dumps({"manifests": entries}))
    return f"oci-layout://{directory}"


def put(directory: Path, data: bytes) -> Digest:
    digest = sha256(data)
    (directory / "blobs/sha256" / digest.partition(":")[2]).write_bytes(data)
    return digest


def root(address: str) -> str:
    wanted = parse_layout(address)
    return open_layout(wanted).load(wanted.target)[0].digest


def test_which_image_is_meant(tmp_path: Path) -> None:
    address = layout(tmp_path / "l", first="{}", latest="[]")

    assert root(f"{address}:first") == sha256(b"{}")
    assert root(address) == root(f"{address}:latest") == sha256(b"[]")
    assert root(f"{address}@{sha256(b'{}')}") == sha256(b"{}")


def test_the_only_image_needs_no_name(tmp_path: Path) -> None:
    assert root(layout(tmp_path / "l", first="{}")) == sha256(b"{}")


def test_a_digest_that_only_a_blob_has(tmp_path: Path) -> None:
    layout(tmp_path / "l", first="{}")
    digest = put(tmp_path / "l", b'{"manifests": []}')

    found, data = Layout(tmp_path / "l").load(digest)

    assert (found.digest, found.size, data) == (digest, 17, b'{"manifests": []}')
    assert found.media_type == "application/vnd.docker.distribution.manifest.list.v2+json"


@pytest.mark.parametrize(
    ("names", "asked", "hint"),
    [
        ({"a": "{}", "b": "[]"}, "", "the layout holds 2 images: a, b; write oci-layout://"),
        ({"a": "{}"}, ":c", "the layout holds one image: a; "),
        ({"": "{}"}, ":c", "the layout holds one image, without a tag; "),
        ({}, "", "the layout holds no image; "),
    ],
)
def test_no_image_is_meant(tmp_path: Path, names: dict[str, str], asked: str, hint: str) -> None:
    address = layout(tmp_path / "l", **names)

    with pytest.raises(
        NotFound, match=f"reference {address}{asked or ':latest'} not found"
    ) as caught:
        root(address + asked)

    assert caught.value.hint.startswith(hint)


def test_what_is_no_layout(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/index.json").write_text("{")
    problems: dict[str, type[PolyarchError]] = {
        "nowhere": NotFound,
        "file": InputError,
        "torn": IntegrityError,
        ".": InputError,
    }

    for name, kind in problems.items():
        with pytest.raises(kind):
            root(f"oci-layout://{tmp_path}/{name}")


def test_a_blob_that_is_missing(tmp_path: Path) -> None:
    layout(tmp_path / "l", a="{}")
    blob = Descriptor(media_type="", digest=Digest(ONES), size=2)

    with pytest.raises(NotFound, match=f"content {ONES}: not found"):
        Layout(tmp_path / "l").open_blob(blob)


def test_a_small_blob_is_verified(tmp_path: Path) -> None:
    layout(tmp_path / "l", a="{}")
    right = Descriptor(media_type="", digest=put(tmp_path / "l", b"right"), size=5)
    assert read_blob(Layout(tmp_path / "l"), right) == b"right"

    (tmp_path / "l/blobs/sha256" / right.digest.partition(":")[2]).write_bytes(b"wrong")
    with pytest.raises(IntegrityError, match="have another digest"):
        read_blob(Layout(tmp_path / "l"), right)
    (tmp_path / "l/blobs/sha256" / right.digest.partition(":")[2]).write_bytes(b"right and more")
    with pytest.raises(IntegrityError, match="more than the 5 bytes"):
        read_blob(Layout(tmp_path / "l"), right)
