"""File ops as a whole: what `perform` leaves in a tree."""

import os
import stat
from pathlib import Path

import pytest

from polyarch.graph.op import CopyAction, FileAction, MkdirAction, MkfileAction
from polyarch.worker.file import perform
from polyarch.worker.tree import SourceTree

OLD = 1_600_000_000
EPOCH = 1_000_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "base/in").mkdir(parents=True)
    (root / "base/in/file").write_text("content")
    for path in (root / "base/in/file", root / "base/in", root / "base", root):
        os.utime(path, (OLD, OLD))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def times(root: Path) -> dict[str, float]:
    return {str(path.relative_to(root)): path.stat().st_mtime for path in sorted(root.rglob("*"))}


def do(action: FileAction, root: Path, source: Path) -> None:
    perform([action], root, [None, SourceTree(root=source, is_context=True)])


def test_an_epoch_dates_the_directories_on_the_way(source: Path, root: Path) -> None:
    action = CopyAction(input=1, sources=("base/in",), destination="/a/b/c", created=EPOCH)
    do(action, root, source)

    assert times(root) == {"a": EPOCH, "a/b": EPOCH, "a/b/c": OLD, "a/b/c/file": OLD}


def test_an_epoch_dates_made_directories_only(source: Path, root: Path) -> None:
    (root / "there").mkdir()
    os.utime(root / "there", (OLD, OLD))

    do(MkdirAction(path="/there/new/er", created=EPOCH), root, source)

    found = times(root)
    assert found.pop("there") not in {OLD, EPOCH}
    assert found == {"there/new": EPOCH, "there/new/er": EPOCH}


def test_parents_date_the_destination_like_the_directory_they_start_from(
    source: Path, root: Path
) -> None:
    (root / "there").mkdir()
    action = CopyAction(input=1, sources=("base/./in/*",), destination="/there/", parents=True)
    do(action, root, source)

    assert times(root) == {"there": OLD, "there/in": OLD, "there/in/file": OLD}


def test_a_document_s_directories_have_its_mode(source: Path, root: Path) -> None:
    do(MkfileAction(path="/a/b", name="EOF", data="x", mode="0711", created=EPOCH), root, source)

    modes = [stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "a/b")]
    assert modes == [0o711, 0o711]
    assert (root / "a").stat().st_mtime == EPOCH
