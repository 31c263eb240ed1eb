"""Images in folders, as the specification has them and as people damage them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import Digest, sha256
from polyarch.errors import InputError, IntegrityError, NotFound, PolyarchError
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken
from polyarch.store.store import Store
from polyarch.worker.source_layout import LayoutAddress, fetch_layer, open_layout, parse_layout

DIGEST = "sha256:" + "a" * 64
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def layout(folder: Path, **names: str) -> str:
    """Write a layout of documents, each under a name; return its address."""
    (folder / "blobs/sha256").mkdir(parents=True)
    entries = []
    for name, text in names.items():
        digest = put(folder, text.encode())
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        entry = {"mediaType": MANIFEST, "digest": digest, "size": len(text)}
        entries.append({**entry, "annotations": annotations})
    (folder / "index.json").write_text(json.dumps({"manifests": entries}))
    return f"oci-layout://{folder}"


def put(folder: Path, data: bytes) -> Digest:
    digest = sha256(data)
    (folder / "blobs/sha256" / digest.partition(":")[2]).write_bytes(data)
    return digest


def root(address: str) -> str:
    return open_layout(address).root().digest


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a", LayoutAddress(folder="a")),
        ("/a/b:1.0", LayoutAddress(folder="/a/b", tag="1.0")),
        (f"../a@{DIGEST}", LayoutAddress(folder="../a", digest=DIGEST)),
        (f"a:t@{DIGEST}", LayoutAddress(folder="a", tag="t", digest=DIGEST)),
        ("a@b/c", LayoutAddress(folder="a@b/c")),
        ("a:b/c", LayoutAddress(folder="a:b/c")),
    ],
)
def test_addresses(text: str, address: LayoutAddress) -> None:
    assert parse_layout(f"oci-layout://{text}") == address
    assert str(address) == f"oci-layout://{text}"


@pytest.mark.parametrize("text", ["", ":tag", "a@sha256:12", "a@"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError):
        parse_layout(f"oci-layout://{text}")


def test_which_image_is_meant(tmp_path: Path) -> None:
    address = layout(tmp_path / "l", first="{}", latest="[]")

    assert root(f"{address}:first") == sha256(b"{}")
    assert root(address) == sha256(b"[]")
    assert root(f"{address}@{sha256(b'{}')}") == sha256(b"{}")


def test_the_only_image_needs_no_name(tmp_path: Path) -> None:
    assert root(layout(tmp_path / "l", first="{}")) == sha256(b"{}")


def test_a_digest_that_only_a_blob_has(tmp_path: Path) -> None:
    address = layout(tmp_path / "l", first="{}")
    digest = put(tmp_path / "l", b'{"manifests": []}')

    found = open_layout(f"{address}@{digest}").root()

    assert found.digest == digest
    assert found.media_type == "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize(
    ("names", "asked", "problem"),
    [
        ({"a": "{}", "b": "[]"}, "", "it holds 2 images: a, b"),
        ({"a": "{}"}, ":c", "no image has that tag, there is a"),
        ({}, "", "the layout holds no image"),
        ({"a": "{}"}, f"@{DIGEST}", f"the layout has no blob {DIGEST}"),
    ],
)
def test_no_image_is_meant(tmp_path: Path, names: dict[str, str], asked: str, problem: str) -> None:
    address = layout(tmp_path / "l", **names)

    with pytest.raises(NotFound, match=problem):
        root(address + asked)


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


def test_blobs_are_verified(tmp_path: Path, store: Store) -> None:
    address = layout(tmp_path / "l", a="{}")
    descriptor = open_layout(address).root()
    open_layout(address).fetch(descriptor, store.blobs, lambda _: None, CancelToken())
    assert store.blobs.read(descriptor.digest) == b"{}"
    wrong = Descriptor(media_type="", digest=put(tmp_path / "l", b"right"), size=5)
    (tmp_path / "l/blobs/sha256" / wrong.digest.partition(":")[2]).write_bytes(b"wrong")

    with pytest.raises(IntegrityError, match="have the digest"):
        open_layout(address).fetch(wrong, store.blobs, lambda _: None, CancelToken())


def test_layers_come_from_whichever_layout_is_left(tmp_path: Path, store: Store) -> None:
    address = layout(tmp_path / "l", a="{}")
    descriptor = open_layout(address).root()
    sources = [f"oci-layout://{tmp_path}/gone", address]

    def fetched(sources: list[str]) -> bool:
        return fetch_layer(sources, descriptor, store.blobs, lambda _: None, CancelToken())

    assert not fetched(sources[:1])
    assert fetched(sources)
