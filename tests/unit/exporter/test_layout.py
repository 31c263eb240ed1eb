"""OCI layouts and docker archives, judged by the validator in `layouts.py`."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.exporter.layout import write_archive, write_directory
from polyarch.exporter.result import Export
from polyarch.record import replace
from tests.support.images.exports import AMD64, ARM64, CREATED, Results, make_export
from tests.support.images.layouts import read_archive, read_directory, validate, validate_docker

ARM = replace(ARM64, architecture="arm", variant="v7")


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    made = Results(tmp_path / "store")
    yield made
    made.store.close()


def several(results: Results, *names: str, kind: str = "") -> Export:
    """An export of three platforms that share their first layer."""
    images = []
    for platform in (AMD64, ARM64, ARM):
        base = results.stack({"etc/motd": "hello", "bin": None}, name="base")
        own = results.stack({"bin/sh": platform.architecture}, name=platform.architecture)
        stack = base.with_layer(own.layers[0].snapshot)
        images.append(results.image(stack, platform, kind))
    return results.add_documents(make_export(images, *names))


def single(results: Results, *names: str, kind: str = "") -> Export:
    stack = results.stack({"f": "1"}, {"f": "2", "d/g": "3"})
    return results.add_documents(make_export([results.image(stack, AMD64, kind)], *names))


def archive(export: Export, results: Results, *, for_docker: bool = False) -> bytes:
    written = io.BytesIO()
    write_archive(export, results.store.blobs, written, for_docker=for_docker)
    return written.getvalue()


@pytest.mark.parametrize("kind", ["gzip", "zstd", "uncompressed"])
def test_an_archive_is_a_whole_layout(results: Results, kind: str) -> None:
    export = several(results, "example.org/app:1", kind=kind)

    found = validate(read_archive(archive(export, results)))

    assert [image.platform for image in found.images] == [
        "linux/amd64",
        "linux/arm64",
        "linux/arm/v7",
    ]
    assert found.entries == {"example.org/app:1": export.root.descriptor.digest}
    assert {image.layers[0] for image in found.images} == {found.images[0].layers[0]}
    assert found.images[1].names() == [["bin", "etc", "etc/motd"], ["bin", "bin/sh"]]


def test_a_single_platform_needs_no_index(results: Results) -> None:
    export = single(results, "example.org/app:1", "example.org/app:latest")

    found = validate(read_archive(archive(export, results)))

    assert [image.digest for image in found.images] == [export.root.descriptor.digest]
    assert sorted(found.entries) == ["example.org/app:1", "example.org/app:latest"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name in ("one", "other"):
        results = Results(tmp_path / name)
        written.append(archive(several(results, "app"), results))
        written.append(archive(single(results, "app"), results, for_docker=True))
        results.store.close()

    assert written[0] == written[2]
    assert written[1] == written[3]


@pytest.mark.parametrize("kind", ["gzip", "zstd", "uncompressed"])
def test_a_docker_archive_is_what_docker_load_reads(results: Results, kind: str) -> None:
    export = single(results, "app:1", "docker.io/user/app:2", kind=kind)

    tags, image = validate_docker(read_archive(archive(export, results, for_docker=True)))

    assert tags == ["app:1", "user/app:2"]
    assert (image.platform, len(image.layers)) == ("linux/amd64", 2)


def test_a_docker_archive_without_a_name(results: Results) -> None:
    files = read_archive(archive(single(results), results, for_docker=True))

    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None
    assert validate_docker(files)[0] == []


def test_a_docker_archive_is_of_one_platform(results: Results) -> None:
    with pytest.raises(
        InputError, match=r"^docker exporter does not support exporting manifest lists"
    ):
        archive(several(results), results, for_docker=True)


def test_a_layer_that_occurs_twice_is_there_once(results: Results) -> None:
    base = results.stack({"f": "1"})
    again = base.with_layer(results.stack({"f": "1"}, name="again").layers[0].snapshot)
    export = results.add_documents(make_export([results.image(again)], "app"))

    files = read_archive(archive(export, results, for_docker=True))

    _, image = validate_docker(files)
    assert len(image.layers) == 2
    assert len([name for name in files if name.startswith("blobs/")]) == len(export.digests)


def test_an_image_without_layers(results: Results) -> None:
    export = results.add_documents(make_export([results.image(results.stack())], "empty"))

    found = validate(read_archive(archive(export, results)))

    assert [image.layers for image in found.images] == [()]


def test_a_directory_is_a_whole_layout(results: Results, tmp_path: Path) -> None:
    export = several(results, "example.org/app:1")

    write_directory(export, results.place(), tmp_path / "new/layout")

    found = validate(read_directory(tmp_path / "new/layout"))
    assert len(found.images) == 3
    assert os.listdir(tmp_path / "new/layout/ingest") == []


def test_directory_and_archive_hold_the_same_blobs(results: Results, tmp_path: Path) -> None:
    export = several(results, "app")
    write_directory(export, results.place(), tmp_path / "layout")

    in_directory, in_archive = (
        {name: data for name, data in files.items() if name.startswith("blobs/")}
        for files in (read_directory(tmp_path / "layout"), read_archive(archive(export, results)))
    )

    assert in_directory == in_archive


def test_a_directory_keeps_other_images_and_replaces_its_own(
    results: Results, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    old, new, other = single(results, "app:1"), several(results, "app:1"), single(results, "app:2")
    for export in (old, other, new):
        write_directory(export, results.place(), layout)

    index = json.loads((layout / "index.json").read_bytes())

    found = {
        entry["annotations"]["io.containerd.image.name"]: entry["digest"]
        for entry in index["manifests"]
    }
    assert len(index["manifests"]) == 2
    assert found == {
        "docker.io/library/app:1": new.root.descriptor.digest,
        "docker.io/library/app:2": other.root.descriptor.digest,
    }


def test_writing_a_directory_again_changes_nothing(results: Results, tmp_path: Path) -> None:
    export = several(results, "app")
    write_directory(export, results.place(), tmp_path)
    before = read_directory(tmp_path)

    write_directory(export, results.place(), tmp_path)

    assert read_directory(tmp_path) == before


def test_a_directory_calls_what_has_no_name_latest(results: Results, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    for export in (single(results), several(results)):
        write_directory(export, results.place(), layout)

    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]

    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "latest"
    assert entry["annotations"]["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert CREATED == 1_700_000_000


@pytest.mark.parametrize("text", ["{", "[]", '{"manifests": 1}', "{}"])
def test_a_directory_of_something_else_is_refused(
    results: Results, tmp_path: Path, text: str
) -> None:
    (tmp_path / "index.json").write_text(text)

    with pytest.raises(InputError, match=r"index.json isn't the index of an OCI layout$"):
        write_directory(single(results), results.place(), tmp_path)


def write_some(root: Path, layout: Path, number: int, times: int) -> None:
    results = Results(root)
    for time in range(times):
        export = single(results, f"app:{number}-{time}")
        write_directory(export, results.place(), layout)
    results.store.close()


def test_no_name_is_lost_if_many_write_at_once(tmp_path: Path) -> None:
    layout, writers, times = tmp_path / "layout", 4, 25
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=write_some, args=(tmp_path / f"{number}", layout, number, times))
        for number in range(writers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * writers
    assert len(validate(read_directory(layout)).entries) == writers * times
    assert not (layout / "index.json.lock").exists()
