import os
from pathlib import Path

from polyarch.store.trees import remove_tree, tree_size


def test_remove_tree_of_what_is_not_there(tmp_path: Path) -> None:
    remove_tree(tmp_path / "x")


def test_remove_tree_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "kept")

    remove_tree(tmp_path / "tree")

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept"]


def test_remove_tree_of_great_depth(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d" * 50, dir_fd=here)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    remove_tree(tmp_path / ("d" * 50))

    assert os.listdir(tmp_path) == []


def test_remove_tree_opens_closed_directories(tmp_path: Path) -> None:
    (tmp_path / "tree/closed").mkdir(parents=True)
    (tmp_path / "tree/closed/file").touch()
    (tmp_path / "tree/closed").chmod(0)

    remove_tree(tmp_path / "tree")

    assert os.listdir(tmp_path) == []


def test_tree_size_counts_hard_links_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    alone = tree_size(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")

    assert tree_size(tmp_path) == alone > 100_000


def test_tree_size_of_many_files_is_not_added_up(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")

    assert tree_size(tmp_path, most=4) == tree_size(tmp_path) > 0
    assert tree_size(tmp_path, most=3) == 0
