"""Looking into results: links lead no further than the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError, NotFound
from polyarch.serve.inside import list_directory, read_part, stat_of
from tests.support.images.trees import plant


@pytest.fixture
def root(tmp_path: Path) -> Path:
    plant(tmp_path, {"secret": "outside"})
    root = plant(tmp_path / "root", {"a": "0123456789", "d/x": "x", "d/y": "y"})
    (root / "out").symlink_to("../secret")
    (root / "abs").symlink_to("/a")
    return root


def test_parts_of_files(root: Path) -> None:
    assert read_part(root, "/a") == b"0123456789"
    assert read_part(root, "a", 3, 4) == b"3456"
    assert read_part(root, "/abs") == b"0123456789"


def test_entries(root: Path) -> None:
    assert [each.path for each in list_directory(root, "/")] == ["a", "abs", "d", "out"]
    assert [each.path for each in list_directory(root, "d", "x*")] == ["x"]
    found = stat_of(root, "/out")
    assert (found.path, found.link, found.size) == ("out", "../secret", 0)
    assert stat_of(root, "/").path == "/"
    assert stat_of(root, "d/x").size == 1


def test_what_is_not_there(root: Path) -> None:
    with pytest.raises(NotFound, match="open /none: no such file or directory"):
        read_part(root, "/none")
    with pytest.raises(NotFound, match="open /none"):
        list_directory(root, "/none")
    with pytest.raises(NotFound, match="lstat d/none"):
        stat_of(root, "d/none")
    with pytest.raises((NotFound, InputError)):
        read_part(root, "/out")
