"""Which entries of a directory a daemon is told of, in which order."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from polyarch.buildkit.files import entries, go_mode


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a/z", "a/b/c", "a.txt", "b/log.log", "Dockerfile", ".dockerignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    return tmp_path


@pytest.mark.parametrize(
    ("includes", "excludes", "told"),
    [
        ((), (), ".dockerignore Dockerfile a a/b a/b/c a/z a.txt b b/log.log link"),
        ((), ("**/*.log", "a"), ".dockerignore Dockerfile a.txt b link"),
        ((), ("a", "!a/b/c"), ".dockerignore Dockerfile a a/b a/b/c a.txt b b/log.log link"),
        (("Dockerfile", ".dockerignore"), (), ".dockerignore Dockerfile"),
        (("a/b",), (), "a a/b a/b/c"),
        (("a",), ("a/b",), "a a/z"),
    ],
)
def test_entries_are_told_in_the_order_of_their_parts(
    tree: Path, includes: tuple[str, ...], excludes: tuple[str, ...], told: str
) -> None:
    found = [each.path for each in entries(tree, includes=includes, excludes=excludes)]

    assert found == told.split()


def test_what_is_told_of_an_entry(tree: Path) -> None:
    os.utime(tree / "a.txt", ns=(1, 1_700_000_000_000_000_001))
    (tree / "a.txt").chmod(0o4750)

    found = {each.path: each for each in entries(tree)}

    file = found["a.txt"]
    assert (file.size, file.mtime, file.uid, file.gid) == (5, 1_700_000_000_000_000_001, 0, 0)
    assert file.mode == 0o750 | 1 << 23
    assert found["link"].link == "a"
    assert (found["link"].size, found["a"].size) == (1, 0)
    assert found["a"].mode >> 31 == 1


def test_the_first_name_that_is_told_of_is_the_file_and_others_are_links_to_it(tree: Path) -> None:
    for name in ("a/b/second", "third", "a/z2"):
        (tree / name).hardlink_to(tree / "a.txt")

    found = {each.path: each for each in entries(tree, excludes=("a/b",))}

    names = ("a/z2", "a.txt", "third", "a/z")
    assert [found[name].link for name in names] == ["", "a/z2", "a/z2", ""]
    assert [found[name].size > 0 for name in names[:3]] == [True, False, False]


def test_extended_attributes_are_told(tree: Path) -> None:
    os.setxattr(tree / "a.txt", "user.told", b"\0one")
    os.setxattr(tree / "a.txt", "user.polyarch.owner", b"1:1")
    os.setxattr(tree / "a", "user.dir", b"two")

    found = {each.path: each.xattrs for each in entries(tree)}

    assert found["a.txt"].get("user.told") == b"\0one"
    assert "user.polyarch.owner" not in found["a.txt"]
    assert found["a"].get("user.dir") == b"two"


def test_ignored_directories_are_not_entered(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    scan = os.scandir

    def noted(path: Path) -> object:
        entered.append(path.name)
        return scan(path)

    monkeypatch.setattr(os, "scandir", noted)

    told = [each.path for each in entries(tree, excludes=("a", "!b/log.log"))]
    wanted = [each.path for each in entries(tree, includes=("b/log.log",))]

    assert told == [".dockerignore", "Dockerfile", "a.txt", "b", "b/log.log", "link"]
    assert wanted == ["b", "b/log.log"]
    assert "a" not in entered


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFBLK | 0o600, 1 << 26 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFREG | 0o2755, 1 << 22 | 0o755),
    ],
)
def test_modes_are_gos(mode: int, theirs: int) -> None:
    assert go_mode(mode) == theirs
