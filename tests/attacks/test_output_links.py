"""Links in an output directory that lead out of it, put there by whoever can write to the directory.

The class of CVE-2018-15664 (docker cp) and CVE-2019-18466 (podman cp): files
of an image that are copied to the machine go where a link leads.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError, StoreError
from polyarch.exporter.directory import DirectoryOptions, write_files
from polyarch.exporter.layout import write_directory
from polyarch.exporter.result import FileTree
from tests.support.images.exports import AMD64, Results, make_export
from tests.support.images.trees import look_at, plant

FLAT = DirectoryOptions(split=False)
OUTSIDE: dict[str, str | None] = {"d/f": "safe", "f": "safe"}


@pytest.mark.parametrize(
    ("planted", "result"),
    [
        ({"d": "-> ../outside/d"}, {"d/f": "new"}),
        ({"f": "-> ../outside/f"}, {"f": "new"}),
        ({"d": "-> /proc/self/cwd"}, {"d/f": "new"}),
        ({"a/b": "-> ../../outside"}, {"a/b/d/f": "new"}),
        ({"d": "-> ../outside/none"}, {"d/f": "new"}),
        ({"l": "-> ../outside"}, {"l": "-> ../outside", "f": "new"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_mirror", [False, True])
def test_links_in_the_way_are_replaced(
    tmp_path: Path,
    planted: dict[str, str | None],
    result: dict[str, str | None],
    *,
    is_mirror: bool,
) -> None:
    plant(tmp_path, {f"outside/{name}": text for name, text in OUTSIDE.items()})
    plant(tmp_path / "out", planted)
    tree = FileTree(platform=AMD64, root=plant(tmp_path / "tree", result))

    write_files([tree], tmp_path / "out", DirectoryOptions(split=False, is_mirror=is_mirror))

    assert look_at(tmp_path / "out") == look_at(tree.root)
    assert look_at(tmp_path / "outside") == {"d": None, **OUTSIDE}


def test_a_link_named_like_a_platform_is_replaced(tmp_path: Path) -> None:
    plant(tmp_path, {"outside/f": "safe", "out/linux_amd64": "-> ../outside"})
    tree = FileTree(platform=AMD64, root=plant(tmp_path / "tree", {"f": "new"}))

    write_files([tree], tmp_path / "out", DirectoryOptions(split=True))

    assert (tmp_path / "outside/f").read_text() == "safe"
    assert look_at(tmp_path / "out") == {"linux_amd64": None, "linux_amd64/f": "new"}


def test_links_of_the_result_are_not_followed(tmp_path: Path) -> None:
    plant(tmp_path, {"outside/f": "safe"})
    first = FileTree(platform=AMD64, root=plant(tmp_path / "1", {"d": f"-> {tmp_path}/outside"}))
    second = FileTree(platform=AMD64, root=plant(tmp_path / "2", {"d/f": "new"}))

    write_files([first], tmp_path / "out", FLAT)
    write_files([second], tmp_path / "out", FLAT)

    assert (tmp_path / "outside/f").read_text() == "safe"
    assert look_at(tmp_path / "out") == {"d": None, "d/f": "new"}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", "ingest"])
def test_a_layout_is_not_written_through_links(results: Results, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    plant(tmp_path / "out", {name: f"-> {tmp_path}/outside"})
    export = results.add_documents(
        make_export([results.image(results.stack({"f": "1"}), AMD64)], "app")
    )

    with pytest.raises(InputError, match=f"out/{name} is a link, and may lead out of the layout"):
        write_directory(export, results.place(), tmp_path / "out")

    assert look_at(tmp_path / "outside") == {}


def test_a_link_in_the_place_of_a_lock_or_a_blob_is_not_followed(
    results: Results, tmp_path: Path
) -> None:
    export = results.add_documents(
        make_export([results.image(results.stack({"f": "1"}), AMD64)], "app")
    )
    blob = f"blobs/{export.digests[0].replace(':', '/')}"
    plant(tmp_path, {"outside": "safe", f"out/{blob}": f"-> {tmp_path}/outside"})
    write_directory(export, results.place(), tmp_path / "out")
    plant(tmp_path / "out", {"index.json.lock": f"-> {tmp_path}/outside"})

    with pytest.raises(StoreError, match="symbolic links"):
        write_directory(export, results.place(), tmp_path / "out")

    assert not (tmp_path / "out" / blob).is_symlink()
    assert (tmp_path / "outside").read_text() == "safe"
