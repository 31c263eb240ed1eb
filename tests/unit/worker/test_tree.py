import os
import socket
from pathlib import Path

import pytest

from polyarch.errors import InputError, NotFound
from polyarch.text.ignore import Matcher
from polyarch.worker.tree import (
    SourceTree,
    find_sources,
    find_starts,
    reading_contexts,
)
from polyarch.worker.walk import select


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
        ("d/none*", []),
        ("a.txt/*", []),
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


def test_ignored_directory_stays_for_what_is_kept_below(root: Path) -> None:
    kept = {"d/e/y.txt"}
    tree = SourceTree(
        root=root,
        is_context=True,
        ignores=lambda path: path not in kept,
        may_keep=lambda path: any(each.startswith(path + "/") for each in kept),
    )

    assert [entry.name for entry in tree.entries(str(root))] == ["d"]
    assert [entry.name for entry in tree.entries(str(root / "d"))] == ["e"]


def test_a_pattern_must_begin_in_what_is_there(root: Path) -> None:
    with pytest.raises(NotFound, match="lstat /none/of: no such file or directory"):
        find_sources(SourceTree(root=root), "none/of/*")


def test_a_pattern_must_begin_in_what_is_not_ignored(root: Path) -> None:
    tree = SourceTree(root=root, is_context=True, ignores=lambda path: path.startswith("d"))
    with pytest.raises(NotFound, match="lstat /d: no such file or directory"):
        find_sources(tree, "d/*.txt")


def test_a_backslash_alone_makes_no_pattern(root: Path) -> None:
    (root / r"a\*b").touch()
    tree = SourceTree(root=root)

    assert names(tree, r"a\*b") == [r"a\*b"]
    with pytest.raises(NotFound):
        find_sources(tree, r"\a.txt")


@pytest.mark.parametrize(
    ("source", "starts", "pattern"),
    [
        ("d/x.txt", ["."], "d/x.txt"),
        ("./d/../f", ["."], "f"),
        ("d/./e", ["d"], "e"),
        ("[df]/./*.txt", ["d", "f"], "*.txt"),
        ("link/./e", ["d"], "e"),
        ("no*/such", ["."], "no*/such"),
        (".", ["."], ""),
    ],
)
def test_find_starts(root: Path, source: str, starts: list[str], pattern: str) -> None:
    entries, found = find_starts(SourceTree(root=root), source)

    assert [str(entry.path.relative_to(root)) for entry in entries] == starts
    assert found == pattern


@pytest.mark.parametrize("source", ["nope/x", "d/./nope", "nope/./x"])
def test_a_start_without_wildcards_must_be_there(root: Path, source: str) -> None:
    with pytest.raises(NotFound):
        find_starts(SourceTree(root=root), source)


def selected(root: Path, includes: list[str], excludes: list[str]) -> list[str]:
    chosen = (Matcher(patterns) if patterns else None for patterns in (includes, excludes))
    return [
        found.inside + ("" if found.is_wanted else "?")
        for found in select(SourceTree(root=root), str(root), *chosen)
    ]


@pytest.mark.parametrize(
    ("includes", "excludes", "expected"),
    [
        (["d/e"], [], ["d?", "d/e", "d/e/y.txt"]),
        (["**/x.txt"], [], ["d?", "d/x.txt", "f?", "f/x.txt"]),
        (["d"], ["d/e"], ["d", "d/x.txt"]),
        (["*/*.txt"], ["f"], ["d?", "d/x.txt"]),
        (["d", "f"], ["d", "!d/e/y.txt"], ["d?", "d/e?", "d/e/y.txt", "f", "f/x.txt"]),
        (["x*"], [], []),
        ([""], [], []),
    ],
)
def test_select(root: Path, includes: list[str], excludes: list[str], expected: list[str]) -> None:
    assert selected(root, includes, excludes) == expected


def test_sockets_of_a_context_are_not_there(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
    assert names(SourceTree(root=root), "s*") == ["sock"]

    context = SourceTree(root=root, is_context=True)
    assert names(context, "s*") == []
    with pytest.raises(NotFound, match='"/sock": not found'):
        find_sources(context, "sock")


def test_what_vanishes_from_a_context_is_no_bug(tmp_path: Path) -> None:
    context = SourceTree(root=tmp_path / "context", is_context=True)
    gone = context.root / "gone"

    said = f"{gone} changed while it was read"
    with pytest.raises(InputError, match=said), reading_contexts([context]):
        os.listdir(gone)
    with pytest.raises(FileNotFoundError), reading_contexts([context]):
        os.listdir(tmp_path / "context2")
