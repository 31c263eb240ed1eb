"""Two layers are told apart by all but times."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.worker.emulated.compare import differing, list_changes


def make(root: Path) -> Path:
    (root / "dir").mkdir(parents=True)
    (root / "dir/file").write_text("a")
    (root / "link").symlink_to("dir/file")
    return root


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (lambda root: (root / "dir/file").write_text("b"), {"/dir/file"}),
        (lambda root: (root / "dir/file").chmod(0o600), {"/dir/file"}),
        (lambda root: (root / "dir/more").touch(), {"/dir/more"}),
        (lambda root: (root / "dir/file").unlink(), {"/dir/file"}),
        (lambda root: os.setxattr(root / "dir", "user.overlay.opaque", b"y"), {"/dir"}),
        (lambda root: os.setxattr(root / "dir", "user.overlay.origin", b"y"), set()),
        (lambda root: os.utime(root / "dir/file", (1, 1)), set()),
    ],
)
def test_what_differs(tmp_path: Path, change: Callable[[Path], object], paths: set[str]) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    change(other)

    assert differing(list_changes(one), list_changes(other)) == paths


def test_links_are_compared_by_where_they_lead(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    (other / "link").unlink()
    (other / "link").symlink_to("dir")

    assert differing(list_changes(one), list_changes(other)) == {"/link"}
