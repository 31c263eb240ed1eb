from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from polyarch.cli.images.prune import read_wish
from polyarch.errors import InputError
from polyarch.images.pruning import forget_images
from polyarch.store.refs import RefKind
from polyarch.store.store import Store


def add(store: Store, name: str, kind: RefKind, stage: str) -> None:
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": {"stage": stage}},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    data = json.dumps(config).encode()
    described = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": store.blobs.put(data),
        "size": len(data),
    }
    manifest = json.dumps({"schemaVersion": 2, "config": described, "layers": []}).encode()
    root = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(manifest)}
    store.refs.set(name, json.dumps({**root, "digest": store.blobs.put(manifest)}), kind)


@pytest.mark.parametrize(
    ("filters", "kept", "gone"),
    [
        ([], False, ["pushed:1", "pushed:2"]),
        ([], True, ["kept:1", "pushed:1", "pushed:2"]),
        (["label=stage=test"], True, ["kept:1", "pushed:1"]),
        (["label!=stage=test"], True, ["pushed:2"]),
        (["label=stage", "label!=other"], False, ["pushed:1", "pushed:2"]),
        (["label=other"], True, []),
        (["until=24h"], True, []),
        (["until=2020-01-01"], True, []),
        ([f"until={time.time() + 86400}"], False, ["pushed:1", "pushed:2"]),
        (["until=0s"], False, ["pushed:1", "pushed:2"]),
    ],
)
def test_names_that_go(tmp_path: Path, filters: Sequence[str], kept: bool, gone: list[str]) -> None:
    with Store(tmp_path) as store:
        add(store, "docker.io/library/kept:1", RefKind.IMAGE, "test")
        add(store, "docker.io/library/pushed:1", RefKind.PUSHED, "test")
        add(store, "docker.io/library/pushed:2", RefKind.PUSHED, "release")
        found = forget_images(store, read_wish(filters, kept=kept))

        assert [name.familiar for name in found] == gone
        assert len(store.refs.all()) == 3 - len(gone)


@pytest.mark.parametrize("text", ["until=soon", "dangling=true"])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(InputError):
        read_wish([text], kept=False)
