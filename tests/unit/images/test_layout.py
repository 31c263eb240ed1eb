"""Layouts as places: many writers at once, and directories that mean ill."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import IntegrityError
from polyarch.images.layout import Layout
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_INDEX

INDEX = b'{"schemaVersion":2,"manifests":[]}'
ROOT = Descriptor(media_type=OCI_INDEX, digest=sha256(INDEX), size=len(INDEX))


def test_many_names_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    tags = {f"t{number}" for number in range(40)}

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(Layout(folder).tag, tag, ROOT, INDEX) for tag in tags]:
            done.result()

    listed = json.loads((folder / "index.json").read_text())["manifests"]
    assert {each["annotations"]["org.opencontainers.image.ref.name"] for each in listed} == tags
    assert sorted(os.listdir(folder)) == ["blobs", "index.json", "ingest", "oci-layout"]


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
