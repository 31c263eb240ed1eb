"""What of the files is in a key: names below the source, contents, modes, owners; never their times."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.graph.op import CopyAction
from polyarch.worker.contenthash import digest_of_copy, digest_of_path
from polyarch.worker.tree import SourceTree
from tests.support.images.trees import look_at, plant

FILES: dict[str, str | None] = {
    "src/a": "1",
    "src/d/b": "2",
    "src/l": "-> a",
    "other/x": "3",
    "other/l": "-> d",
}


def copied(root: Path, *sources: str, is_context: bool = False, parents: bool = False) -> Digest:
    tree = SourceTree(root=root, is_context=is_context)
    action = CopyAction(input=1, sources=sources, destination="/", parents=parents)
    return digest_of_copy(tree, action)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "src/a").write_text("9"),
    "content deep": lambda root: (root / "src/d/b").write_text("9"),
    "mode": lambda root: (root / "src/a").chmod(0o600),
    "mode of a directory": lambda root: (root / "src/d").chmod(0o700),
    "name": lambda root: (root / "src/a").rename(root / "src/A"),
    "new file": lambda root: (root / "src/new").touch(),
    "new directory": lambda root: (root / "src/new").mkdir(),
    "gone": lambda root: (root / "src/d/b").unlink(),
    "link": lambda root: os.replace(root / "other/l", root / "src/l"),
    "xattr": lambda root: os.setxattr(root / "src/a", "user.x", b"1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_another_digest(tmp_path: Path, change: str) -> None:
    root = plant(tmp_path, FILES)
    before = copied(root, "src"), digest_of_path(SourceTree(root=root), "src")

    CHANGES[change](root)

    after = copied(root, "src"), digest_of_path(SourceTree(root=root), "src")
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.root
def test_owners_count_but_not_in_a_context(tmp_path: Path) -> None:
    root = plant(tmp_path, FILES)
    before = copied(root, "src"), copied(root, "src", is_context=True)

    os.chown(root / "src/a", 5, 6)

    assert copied(root, "src") != before[0]
    assert copied(root, "src", is_context=True) == before[1]


def test_what_is_not_in_it(tmp_path: Path) -> None:
    root = plant(tmp_path, FILES)
    before = copied(root, "src")

    os.utime(root / "src/a", (1, 1))
    (root / "other/x").write_text("changed")
    (root / "src").chmod(0o700)
    (root / "src").rename(root / "renamed")

    assert copied(root, "renamed") == before


def test_matches_of_a_pattern_count_by_name(tmp_path: Path) -> None:
    root = plant(tmp_path, {"a": "1", "b": "2"})
    before = copied(root, "*")
    one = copied(root, "a")

    (root / "a").rename(root / "c")

    assert copied(root, "*") != before
    assert copied(root, "c") == one
    assert copied(root, "[c]") != one, (
        "the name reaches the destination, and the op doesn't hold it"
    )


def test_sources_count_in_their_order(tmp_path: Path) -> None:
    root = plant(tmp_path, {"a/f": "1", "b/f": "2"})

    found = {
        copied(root, *sources) for sources in (("a", "b"), ("b", "a"), ("a",), ("a", "b", "b"))
    }

    assert len(found) == 4


@pytest.mark.parametrize("source", ["src/d/b", "src/d/*", "src/**", "./src/./d/b"])
def test_with_parents_the_directories_on_the_way_count(tmp_path: Path, source: str) -> None:
    root = plant(tmp_path, FILES)
    before = copied(root, source, parents=True)
    (root / "other").chmod(0o700)
    same = copied(root, source, parents=True)

    (root / "src/d").chmod(0o700)

    assert before == same != copied(root, source, parents=True)


def test_with_parents_a_directory_before_the_pivot_does_not_count(tmp_path: Path) -> None:
    root = plant(tmp_path, FILES)
    before = copied(root, "src/./d/b", parents=True)

    (root / "src").chmod(0o700)
    (root / "src/a").write_text("changed")

    assert copied(root, "src/./d/b", parents=True) == before


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        copied(tmp_path, "none")


PLACES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PLACES, st.none() | st.sampled_from(["", "1", "2"]), max_size=5).map(
    lambda tree: {
        name: text
        for name, text in tree.items()
        if all(tree.get(name[:end]) is None for end, each in enumerate(name) if each == "/")
    }
)


@given(one=TREES, other=TREES)
@settings(max_examples=40, deadline=None)
def test_digests_are_equal_if_the_trees_are(
    one: dict[str, str | None], other: dict[str, str | None]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        roots = [plant(Path(name) / str(number), tree) for number, tree in enumerate((one, other))]
        is_same = look_at(roots[0]) == look_at(roots[1])

        assert (copied(roots[0], ".") == copied(roots[1], ".")) is is_same


def test_what_is_excluded_does_not_count(tmp_path: Path) -> None:
    tree = SourceTree(root=plant(tmp_path, FILES))
    action = CopyAction(input=1, sources=("src",), destination="/", exclude=("d", "*.o"))
    before = digest_of_copy(tree, action)

    (tmp_path / "src/d/b").write_text("9")
    assert digest_of_copy(tree, action) == before
    (tmp_path / "src/a").write_text("9")
    assert digest_of_copy(tree, action) != before


def test_a_literal_source_is_no_pattern(tmp_path: Path) -> None:
    root = plant(tmp_path, {"a*": "1", "ab": "2"})
    action = CopyAction(input=1, sources=("a*",), destination="/", is_literal=True)
    before = digest_of_copy(SourceTree(root=root), action)

    (root / "ab").write_text("9")
    assert digest_of_copy(SourceTree(root=root), action) == before
