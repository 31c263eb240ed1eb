from pathlib import Path

import pytest

from polyarch.errors import NotFound
from polyarch.worker.tree import SourceTree, find_sources


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "c.md", "d/x.txt", "d/e/y.txt", "f/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to("/d")
    (tmp_path / "dangling").symlink_to("nowhere")
    return tmp_path


def names(tree: SourceTree, source: str) -> list[str]:
    return [str(entry.path.relative_to(tree.root)) for entry in find_sources(tree, source)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a.txt", ["a.txt"]),
        ("/a.txt", ["a.txt"]),
        ("../../a.txt", ["a.txt"]),
        (".", ["."]),
        ("*.txt", ["a.txt", "b.txt"]),
        ("?.md", ["c.md"]),
        ("[^a].txt", ["b.txt"]),
        ("*/x.txt", ["d/x.txt", "f/x.txt"]),
        ("d/*", ["d/e", "d/x.txt"]),
        ("link/x.txt", ["d/x.txt"]),
        ("link/*.txt", ["d/x.txt"]),
        ("none*", []),
        ("none/*", []),
    ],
)
def test_find_sources(root: Path, source: str, found: list[str]) -> None:
    assert names(SourceTree(root=root, is_context=True), source) == found


@pytest.mark.parametrize("source", ["nope", "dangling", "dang*"])
def test_missing(root: Path, source: str) -> None:
    with pytest.raises(NotFound, match=f'"/{source}": not found'.replace("*", r"\*")):
        find_sources(SourceTree(root=root, is_context=True), source)


def test_missing_hints(root: Path) -> None:
    tree = SourceTree(root=root, is_context=True, ignores=lambda path: path == "a.txt")
    with pytest.raises(NotFound) as error:
        find_sources(tree, "A.txt")
    assert error.value.hint == "did you mean a.txt?"
    with pytest.raises(NotFound) as error:
        find_sources(tree, "a.txt")
    assert "ignore file" in error.value.hint


def test_ignored_folder_stays_for_what_is_kept_below(root: Path) -> None:
    kept = {"d/e/y.txt"}
    tree = SourceTree(
        root=root,
        is_context=True,
        ignores=lambda path: path not in kept,
        may_keep=lambda path: any(each.startswith(path + "/") for each in kept),
    )

    assert [entry.name for entry in tree.entries(root)] == ["d"]
    assert [entry.name for entry in tree.entries(root / "d")] == ["e"]
