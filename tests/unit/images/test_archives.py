"""Images of the local store in archives: saved, read by a validator of ours, loaded into another store."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import IntegrityError, NotFound
from polyarch.images.loading import LoadedImage, load_directory, load_images
from polyarch.images.local import keep_image, list_images, stored_image
from polyarch.images.saving import collect_image, save_images
from polyarch.oci.reference import parse
from polyarch.platforms import Platform
from polyarch.progress import CancelToken
from polyarch.store.store import Store
from tests.support.images.exports import AMD64, ARM64, Results, make_export, store_place
from tests.support.images.layouts import read_archive, validate, validate_docker


def keep(results: Results, name: str, *platforms: Platform) -> None:
    images = [
        results.image(results.stack({"arch": each.architecture}, name=each.architecture), each)
        for each in platforms
    ]
    export = results.add_documents(make_export(images, name))
    keep_image(results.store, parse(name), export.root.descriptor)


def saved(results: Results, *names: str, platforms: Sequence[Platform] = ()) -> bytes:
    stream = io.BytesIO()
    images = [collect_image(results.place(), parse(name), platforms) for name in names]
    save_images(results.place(), images, stream)
    return stream.getvalue()


def load(store: Store, data: bytes) -> tuple[LoadedImage, ...]:
    return load_images(store, io.BytesIO(data), cancel=CancelToken())


def packed(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.mark.parametrize("lacks", [None, "index.json", "manifest.json"])
def test_a_directory_is_loaded_like_an_archive(
    results: Results, other: Store, tmp_path: Path, lacks: str | None
) -> None:
    keep(results, "app:1", AMD64)
    with tarfile.open(fileobj=io.BytesIO(saved(results, "app:1"))) as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    if lacks is not None:
        (tmp_path / "layout" / lacks).unlink()

    (loaded,) = load_directory(other, str(tmp_path / "layout"), cancel=CancelToken())

    assert [name.familiar for name in loaded.names] == ["app:1"]
    assert stored_image(other, parse("app:1")).root.digest == loaded.root.digest


def test_a_directory_is_read_through_no_link(other: Store, tmp_path: Path) -> None:
    outside = tmp_path / "index.json"
    outside.write_text('{"schemaVersion": 2, "manifests": []}')
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout/index.json").symlink_to(outside)
    os.mkfifo(tmp_path / "layout/manifest.json")

    with pytest.raises(IntegrityError, match="the archive holds no image"):
        load_directory(other, str(tmp_path / "layout"), cancel=CancelToken())


def test_a_directory_of_skopeo_is_no_archive(other: Store, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schemaVersion": 2, "layers": []}')

    with pytest.raises(
        IntegrityError,
        match=r"manifest\.json is that of one image",
    ):
        load_directory(other, str(tmp_path), cancel=CancelToken())


def test_several_images_of_several_platforms_are_the_same_after_it(
    results: Results, other: Store
) -> None:
    keep(results, "app:1", AMD64, ARM64)
    keep(results, "registry.example/you/tool", ARM64)
    archive = saved(results, "app:1", "registry.example/you/tool")
    files = read_archive(archive)
    found = validate({name: data for name, data in files.items() if name != "manifest.json"})
    loaded = load(other, gzip.compress(archive))

    assert sorted(found.entries) == ["docker.io/library/app:1", "registry.example/you/tool:latest"]
    tags = [each["RepoTags"] for each in json.loads(files["manifest.json"])]
    assert tags == [["app:1"], ["registry.example/you/tool:latest"]]
    assert [image.names[0].familiar_name for image in loaded] == [
        "app",
        "registry.example/you/tool",
    ]
    here, there = list_images(results.store), list_images(other)
    assert [(each.name, each.root.digest, each.platforms, each.size) for each in here] == [
        (each.name, each.root.digest, each.platforms, each.size) for each in there
    ]


def test_one_platform_is_saved_by_itself(results: Results, other: Store) -> None:
    keep(results, "app:1", AMD64, ARM64)
    tags, image = validate_docker(read_archive(saved(results, "app:1", platforms=[ARM64])))
    load(other, saved(results, "app:1", platforms=[ARM64]))

    assert (tags, image.platform) == (["app:1"], "linux/arm64")
    assert list(map(str, stored_image(other, parse("app:1")).platforms)) == ["linux/arm64"]


def test_what_is_not_here_cannot_be_saved(results: Results) -> None:
    keep(results, "app:1", AMD64)
    with pytest.raises(NotFound, match="no image named"):
        collect_image(results.place(), parse("app:2"))
    with pytest.raises(NotFound, match="image app:1 is not here for linux/arm64"):
        collect_image(results.place(), parse("app:1"), [ARM64])


LAYER = packed({"etc/issue": b"hello\n"})
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": [sha256(LAYER), sha256(LAYER)]},
}


def legacy(config: Mapping[str, object], layers: Sequence[str]) -> bytes:
    """Pack an image as docker did before there were layouts, the second layer a link to the first."""
    manifest = [{"Config": "c.json", "RepoTags": ["old:1", "old:2"], "Layers": list(layers)}]
    files = {
        "c.json": json.dumps(config).encode(),
        "a/layer.tar": LAYER,
        "a/VERSION": b"1.0",
        "manifest.json": json.dumps(manifest).encode(),
    }
    return packed(files, {"b/layer.tar": "../a/layer.tar"})


def test_dockers_older_archives(other: Store) -> None:
    (image,) = load(other, legacy(CONFIG, ["a/layer.tar", "b/layer.tar"]))

    assert [name.familiar for name in image.names] == ["old:1", "old:2"]
    again = collect_image(store_place(other), parse("old:2"))
    assert [layer.digest for layer in again.images[0][1].layers] == [sha256(LAYER)] * 2


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (packed({"file": b"x"}), "neither index.json nor manifest.json"),
        (legacy(CONFIG, ["a/layer.tar"]), "1 layers for c.json, which names 2"),
        (legacy(CONFIG, ["a/layer.tar", "c/layer.tar"]), "lacks c/layer.tar"),
        (legacy(CONFIG, ["a/layer.tar", "a/VERSION"]), "instead of sha256:"),
        (packed({f"blobs/sha256/{'0' * 64}": b"x"}), "have the digest sha256:"),
        (packed({"manifest.json": b"{"}), "manifest.json of the archive is no JSON"),
        (packed({"manifest.json": b"{}"}), "manifest"),
    ],
)
def test_archives_that_are_not_whole(other: Store, archive: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        load(other, archive)
    assert list_images(other) == ()


def test_a_layout_that_lacks_a_blob(results: Results, other: Store) -> None:
    keep(results, "app:1", AMD64)
    files = read_archive(saved(results, "app:1"))
    (layer,) = json.loads(files["manifest.json"])[0]["Layers"]
    del files[layer]

    with pytest.raises(IntegrityError, match=f"lacks {layer[6:].replace('/', ':')}"):
        load(other, packed(files))


def test_an_image_without_a_name_is_told_of(results: Results, other: Store) -> None:
    keep(results, "app:1", AMD64)
    files = read_archive(saved(results, "app:1"))
    index = json.loads(files["index.json"])
    del files["manifest.json"]
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (image,) = load(other, packed({**files, "index.json": json.dumps(index).encode()}))

    kept = stored_image(results.store, parse("app:1"))
    assert (image.names, image.root.digest) == ((), kept.root.digest)
