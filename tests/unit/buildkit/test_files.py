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
    assert (found["link"].size, found["a"].size) == (0, 0)
    assert found["a"].mode >> 31 == 1


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


def test_hard_links_are_told_as_such_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    (tmp_path / "d").mkdir()
    os.link(tmp_path / "a", tmp_path / "d/b")
    (tmp_path / "c").symlink_to("a")

    linked = {each.path: (each.size, each.link) for each in entries(tmp_path, links={})}

    assert linked == {"a": (4, ""), "c": (0, "a"), "d": (0, ""), "d/b": (0, "a")}
    assert [each.size for each in entries(tmp_path) if each.path in {"a", "d/b"}] == [4, 4]
