"""Large files of other stages: not read for a key, and told apart once somebody asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.digest import Digest
from polyarch.graph.op import CopyAction, FileAction, MkdirAction, MkfileAction
from polyarch.store.layerform import make_whiteout
from polyarch.worker.contenthash import digest_of_copy
from polyarch.worker.file import perform
from polyarch.worker.tree import SMALL_FILE, SourceTree
from polyarch.worker.unread import Unread, find_difference
from tests.support.images.trees import look_at, plant

LARGE = SMALL_FILE + 1
LAST = b"z"
FILES: dict[str, str | None] = {
    "src/a": "a" * LARGE,
    "src/b": "b" * 3 * LARGE,
    "src/d/a": "c" * LARGE,
    "src/small": "1",
    "other/a": "d" * LARGE,
}


def action(*sources: str, **more: bool) -> CopyAction:
    return CopyAction(input=1, sources=sources, destination="/to/", **more)  # type: ignore[arg-type]


def glance(root: Path, copy: CopyAction) -> tuple[Digest, list[str]]:
    """Return what a key has of `copy`, and the files that it says nothing of but their sizes."""
    unread = Unread(str(root))
    return digest_of_copy(SourceTree(root=root, file_digest=unread.digest), copy), unread.paths


def made(source: Path, copy: CopyAction, root: Path) -> Sequence[str]:
    """Copy into the directory `root`, and return where the large files went."""
    root.mkdir()
    tree = SourceTree(root=source, layers=(str(source),))
    return perform([copy], root, [None, tree]).get(1, ())


def differs(source: Path, copy: CopyAction, places: Sequence[str], layer: Path) -> str | None:
    _, unread = glance(source, copy)
    assert len(unread) == len(places)
    return find_difference(unread, (str(source),), places, (str(layer),))


def end(path: Path) -> None:
    """Change the last byte of a file."""
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(LAST)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    status = plant(tmp_path, FILES).joinpath("src/a").stat()
    unread = Unread(str(tmp_path))

    unread.digest(f"{tmp_path}/src/gone", status)

    assert unread.paths == ["src/gone"]


def test_a_small_file_is_read(tmp_path: Path) -> None:
    plant(tmp_path, FILES)
    before = glance(tmp_path, action("src"))
    (tmp_path / "src/small").write_text("2")

    assert glance(tmp_path, action("src"))[0] != before[0]


def test_the_size_of_a_large_file_is_known(tmp_path: Path) -> None:
    plant(tmp_path, FILES)
    before = glance(tmp_path, action("src"))
    end(tmp_path / "src/a")
    same = glance(tmp_path, action("src"))
    (tmp_path / "src/a").write_text("a" * (LARGE + 1))

    assert before == same
    assert glance(tmp_path, action("src"))[0] != before[0]


COPIES = {
    "a directory": action("src"),
    "a file": action("src/a"),
    "a pattern": action("src/[ab]"),
    "several": action("src/a", "src/b"),
    "with parents": action("src/*/a", "other/a", parents=True),
    "as it is": action("src", is_literal=True),
    "all": action("/"),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_each_file_that_differs_is_found(tmp_path: Path, copy: CopyAction) -> None:
    source = plant(tmp_path / "source", FILES)
    places = made(source, copy, tmp_path / "layer")
    _, unread = glance(source, copy)

    assert differs(source, copy, places, tmp_path / "layer") is None
    assert unread
    for path in unread:
        content = (source / path).read_bytes()
        end(source / path)
        assert differs(source, copy, places, tmp_path / "layer") == path
        (source / path).write_bytes(content)


def test_two_names_of_one_file_are_both_found(tmp_path: Path) -> None:
    source = plant(tmp_path / "source", FILES)
    os.link(source / "src/a", source / "src/d/twin")
    places = made(source, action("src"), tmp_path / "layer")

    assert sorted(places) == ["to/a", "to/b", "to/d/a", "to/d/twin"]
    assert differs(source, action("src"), places, tmp_path / "layer") is None
    (source / "src/d/twin").unlink()
    (source / "src/d/twin").write_text("z" * LARGE)
    assert differs(source, action("src"), places, tmp_path / "layer") == "src/d/twin"


def test_a_file_that_another_took_the_place_of_counts_no_more(tmp_path: Path) -> None:
    source = plant(tmp_path / "source", FILES)
    copy = action("src/a", "other/a")
    places = made(source, copy, tmp_path / "layer")
    end(source / "src/a")

    assert list(places) == ["to/a", "to/a"]
    assert differs(source, copy, places, tmp_path / "layer") is None
    end(source / "other/a")
    assert differs(source, copy, places, tmp_path / "layer") == "other/a"


CHANGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda _path: None,
    "a directory": lambda path: path.mkdir(),
    "a pipe, which is never opened": os.mkfifo,
    "a link": lambda path: path.symlink_to("b"),
    "its beginning": lambda path: path.write_text("a" * SMALL_FILE),
    "it and more": lambda path: path.write_text("a" * (LARGE + 1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_such_file_differs(tmp_path: Path, change: str) -> None:
    source = plant(tmp_path / "source", FILES)
    places = made(source, action("src"), tmp_path / "layer")
    (tmp_path / "layer/to/a").unlink()

    CHANGES[change](tmp_path / "layer/to/a")

    assert differs(source, action("src"), places, tmp_path / "layer") == "src/a"


def test_a_file_is_looked_for_in_the_layers_of_its_tree(tmp_path: Path) -> None:
    names = ("top", "middle", "base")
    layers = tuple(str(plant(tmp_path / name, {"d/a": name * LARGE})) for name in names)
    plant(tmp_path / "layer", {"a": "middle" * LARGE})

    (tmp_path / "top/d/a").unlink()
    assert find_difference(["d/a"], layers, ["a"], (str(tmp_path / "layer"),)) is None
    make_whiteout(f"{tmp_path}/top/d/a")
    assert find_difference(["d/a"], layers, ["a"], (str(tmp_path / "layer"),)) == "d/a"


def test_only_copies_from_snapshots_are_remembered(tmp_path: Path) -> None:
    source = plant(tmp_path / "source", FILES)
    root = tmp_path / "root"
    root.mkdir()
    actions: list[FileAction] = [
        MkdirAction(path="/x"),
        MkfileAction(path="/x", name="y", data="y" * LARGE),
        action("src"),
        CopyAction(input=2, sources=("src/a", "src/small"), destination="/second/"),
        CopyAction(input=3, sources=("src/small",), destination="/third/"),
    ]
    snapshot = SourceTree(root=source, layers=(str(source),))

    places = perform(actions, root, [None, SourceTree(root=source), snapshot, snapshot])

    assert places == {2: ["second/a"]}


CONTENTS = st.sampled_from(["", "1", "2", "1" * LARGE, "2" * LARGE, "1" * SMALL_FILE + "2"])
TREES = st.dictionaries(st.sampled_from(["a", "b", "d/a"]), CONTENTS, max_size=3)


@given(one=TREES, other=TREES)
@settings(max_examples=40, deadline=None)
def test_trees_that_look_alike_and_do_not_differ_are_equal(
    one: dict[str, str | None], other: dict[str, str | None]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        first, second = plant(Path(name, "1"), one), plant(Path(name, "2"), other)
        places = made(first, action("."), Path(name, "layer"))
        is_alike = glance(first, action("."))[0] == glance(second, action("."))[0]
        is_found = is_alike and not differs(second, action("."), places, Path(name, "layer"))

        assert is_found is (look_at(first) == look_at(second))
