"""A result in a directory where something lies already: all of it, or the directory as it was."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from polyarch.errors import Cancelled, StoreError
from polyarch.exporter.directory import DirectoryOptions, write_files
from polyarch.exporter.result import FileTree
from polyarch.progress import CancelToken
from polyarch.store.trees import remove_tree
from polyarch.syscalls import mount
from tests.support.images.exports import AMD64, ARM64
from tests.support.images.trees import MTIME, look_at, plant
from tests.support.machine.namespaces import in_mount_namespace

FLAT = DirectoryOptions(split=False)
MIRROR = DirectoryOptions(split=False, is_mirror=True)


def tree_of(root: Path, files: dict[str, str | None]) -> FileTree:
    return FileTree(platform=AMD64, root=plant(root, files))


KINDS = {"directory": {"x/in": "new"}, "file": {"x": "new"}, "link": {"x": "-> elsewhere"}}


@pytest.mark.parametrize("old", ["directory", "file", "link"])
@pytest.mark.parametrize("new", ["directory", "file", "link"])
def test_whatever_is_in_the_way_is_replaced(tmp_path: Path, old: str, new: str) -> None:
    plant(tmp_path / "out", {**KINDS[old], "own": "mine"})
    tree = tree_of(tmp_path / "tree", dict(KINDS[new]))

    write_files([tree], tmp_path / "out", FLAT)

    assert look_at(tmp_path / "out") == {**look_at(tree.root), "own": "mine"}


def test_directories_that_the_result_does_not_have(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"a": "text"})

    write_files([tree], tmp_path / "up/out", DirectoryOptions(split=True))

    assert stat.S_IMODE((tmp_path / "up/out").stat().st_mode) == 0o700
    assert (tmp_path / "up/out/linux_amd64").stat().st_mtime == 0


def test_names_of_one_file_stay_that(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"bin/a": "text", "other": "text"})
    os.link(tree.root / "bin/a", tree.root / "bin/b")
    os.link(tree.root / "bin/a", tree.root / "z")

    write_files([tree], tmp_path / "out", FLAT)

    inodes = [(tmp_path / "out" / name).stat().st_ino for name in ("bin/a", "bin/b", "z", "other")]
    assert len(set(inodes[:3])) == 1
    assert inodes[3] != inodes[0]
    assert (tmp_path / "out/z").stat().st_nlink == 3


def test_names_of_one_file_stay_that_over_what_is_there(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"d/a": "new"})
    os.link(tree.root / "d/a", tree.root / "b")
    plant(tmp_path / "out", {"d/a": "old", "b": "old"})

    write_files([tree], tmp_path / "out", FLAT)

    assert (tmp_path / "out/d/a").samefile(tmp_path / "out/b")
    assert (tmp_path / "out/b").read_text() == "new"


def test_platforms_share_no_file(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"a": "text"})
    os.link(tree.root / "a", tree.root / "b")
    trees = [tree, FileTree(platform=ARM64, root=tree.root)]

    write_files(trees, tmp_path / "out", DirectoryOptions(split=True))

    files = [
        tmp_path / "out" / each / name for each in ("linux_amd64", "linux_arm64") for name in "ab"
    ]
    assert [each.stat().st_nlink for each in files] == [2, 2, 2, 2]
    assert files[0].samefile(files[1])
    assert not files[0].samefile(files[2])


@pytest.mark.root
def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    out = plant(tmp_path / "out", {"a": "old", "d/f": "old", "d/x": "-> a", "d/z/mounted": None})
    (out / "d").chmod(0o750)
    found = look_at(out)
    tree = tree_of(
        tmp_path / "tree", {"a": "new", "b/c": "new", "d/f": "new", "d/x": None, "d/z": "new"}
    )

    def write() -> None:
        mount("tmpfs", out / "d/z/mounted", "tmpfs")
        with pytest.raises(
            StoreError, match=r"/out: a file system is mounted at .*/out/d/z/mounted$"
        ):
            write_files([tree], out, FLAT)

    in_mount_namespace(write)

    assert look_at(out) == found
    assert ((out / "d").stat().st_mode & 0o777, (out / "d").stat().st_mtime) == (0o750, MTIME)


def test_what_fails_while_it_is_written_leaves_no_directory(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"a": "new"})
    token = CancelToken()
    token.cancel()

    options = DirectoryOptions(split=False, check=token.check)
    with pytest.raises(Cancelled):
        write_files([tree], tmp_path / "no/such/out", options)

    assert sorted(os.listdir(tmp_path)) == ["tree"]


def test_a_mirror_holds_nothing_else(tmp_path: Path) -> None:
    plant(tmp_path / "out", {"own": "old", "d/f": "old", "d/own/x": "old", "link": "-> d"})
    tree = tree_of(tmp_path / "tree", {"d/f": "new", "e": None})

    write_files([tree], tmp_path / "out", MIRROR)

    assert look_at(tmp_path / "out") == {"d": None, "d/f": "new", "e": None}
    assert (tmp_path / "out/d").stat().st_mtime == MTIME


def test_a_mirror_of_platforms_holds_their_directories(tmp_path: Path) -> None:
    plant(tmp_path / "out", {"linux_amd64/old": "", "linux_riscv64/f": "", "f": ""})
    tree = tree_of(tmp_path / "tree", {"f": "new"})

    write_files([tree], tmp_path / "out", DirectoryOptions(split=True, is_mirror=True))

    assert look_at(tmp_path / "out") == {"linux_amd64": None, "linux_amd64/f": "new"}


def test_what_a_killed_build_left_behind_goes(tmp_path: Path) -> None:
    plant(tmp_path / "out", {".polyarch-output-1/new/f": "", "own": "mine"})
    tree = tree_of(tmp_path / "tree", {"f": "new"})

    write_files([tree], tmp_path / "out", FLAT)

    assert look_at(tmp_path / "out") == {"f": "new", "own": "mine"}


@pytest.mark.root
def test_directories_of_other_file_systems_are_written_to(tmp_path: Path) -> None:
    out = plant(tmp_path / "out", {"sub": None})
    tree = tree_of(tmp_path / "tree", {"sub/f": "new", "sub/d/e": "new", "sub/l": "-> f"})

    def write() -> None:
        mount("tmpfs", out / "sub", "tmpfs")
        plant(out, {"sub/f": "old", "sub/d": "old"})
        write_files([tree], out, FLAT)
        assert look_at(out) == look_at(tree.root)

    in_mount_namespace(write)


def test_directories_deeper_than_the_stack_are_written() -> None:
    place = Path(tempfile.mkdtemp())
    tree = tree_of(place / "tree", {})
    deepest = str(tree.root)
    for _ in range(1200):
        deepest += "/d"
        os.mkdir(deepest)

    for _ in range(2):
        write_files([tree], place / "out", FLAT)

    assert os.path.isdir(deepest.replace("/tree/", "/out/"))
    remove_tree(place)
